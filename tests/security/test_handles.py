"""Handles of resources: a guest can use those it was given, and no number makes it another's. Row T21."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.security.guests import guest, native
from tests.security.processes import Guest

GuestOf = Callable[[bytes], Guest]

STREAMS = """
  (import "wasi:io/error@0.2.3" (instance $error (export "error" (type (sub resource)))))
  (alias export $error "error" (type $io-error))
  (import "wasi:io/streams@0.2.3" (instance $streams
    (export "output-stream" (type $out (sub resource)))
    (export "input-stream" (type $in (sub resource)))
    (alias outer 1 $io-error (type $e0)) (export "error" (type $e (eq $e0)))
    (type $failure (variant (case "last-operation-failed" (own $e)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $failure)))
    (export "[method]output-stream.check-write"
      (func (param "self" (borrow $out)) (result (result u64 (error $stream-error)))))))
  (alias export $streams "output-stream" (type $output))
  (alias export $streams "input-stream" (type $input))
  (import "wasi:cli/stdout@0.2.3" (instance $stdout
    (alias outer 1 $output (type $o0)) (export "output-stream" (type $o (eq $o0)))
    (export "get-stdout" (func (result (own $o))))))
  (import "wasi:cli/stdin@0.2.3" (instance $stdin
    (alias outer 1 $input (type $i0)) (export "input-stream" (type $i (eq $i0)))
    (export "get-stdin" (func (result (own $i))))))
  (component $other
    (import "out" (type $out (sub resource)))
    (core func $drop (canon resource.drop $out))
    (core module $m (import "h" "drop" (func $drop (param i32))) (func (export "take") (param i32) (call $drop (local.get 0))))
    (core instance $i (instantiate $m (with "h" (instance (export "drop" (func $drop))))))
    (func (export "take") (param "x" u32) (canon lift (core func $i "take"))))
  (instance $elsewhere (instantiate $other (with "out" (type $output))))
"""
HANDLES = {
    "stdout": ("(result i32)", '(canon lower (func $stdout "get-stdout"))'),
    "stdin": ("(result i32)", '(canon lower (func $stdin "get-stdin"))'),
    "check": (
        "(param i32 i32)",
        '(canon lower (func $streams "[method]output-stream.check-write") (memory $memory))',
    ),
    "drop": ("(param i32)", "(canon resource.drop $output)"),
    "lend": ("(param i32)", '(canon lower (func $elsewhere "take"))'),
}
CHECK = "(call $check {} (i32.const 256)) (call $answer (i32.const 256) (i32.const 1))"
OK = b"\0"  # of check-write's result


def with_handles(handler: str) -> bytes:
    """A guest that does this with its handles."""
    return native(guest(handler, imports=STREAMS, lowered=HANDLES))


async def test_t21_a_handle_that_was_given_can_be_used(guest_of: GuestOf) -> None:
    assert (await guest_of(with_handles(CHECK.format("(call $stdout)"))).done()).body == OK


@pytest.mark.parametrize(
    ("what", "handler"),
    [
        ("forged", CHECK.format("(i32.const 77)")),
        ("zero", CHECK.format("(i32.const 0)")),
        ("all ones", CHECK.format("(i32.const -1)")),
        ("guessed beside a real one", CHECK.format("(i32.add (call $stdout) (i32.const 1))")),
        ("of another type", CHECK.format("(call $stdin)")),
        (
            "used after drop",
            "(local.set $a (call $stdout)) (call $drop (local.get $a))" + CHECK.format("(local.get $a)"),
        ),
        (
            "dropped twice",
            "(local.set $a (call $stdout)) (call $drop (local.get $a)) (call $drop (local.get $a)) (unreachable)",
        ),
        ("of another component", "(call $lend (call $stdout)) (unreachable)"),
    ],
)
async def test_t21_a_handle_that_is_not_the_guests_own_traps(guest_of: GuestOf, what: str, handler: str) -> None:
    result = await guest_of(with_handles(handler)).failed()
    assert result.kind == "trap", what
    assert "handle" in result.message
