"""WASI as a guest finds it: no network, no files, coarse clocks, and nothing that was not asked of. Rows T22 and T24."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from wasmtime import WasmtimeError, wat2wasm
from wasmtime.component import Component, Linker

from runner.sandbox import wasi as offered
from runner.sandbox.engine import EngineOptions, make_engine
from runner.sandbox.guest_clock import RESOLUTION_NS, GuestClock
from runner.sandbox.host_function import Thunk, define, trap_function
from runner.sandbox.pool import SandboxPool
from shared import wasi
from shared.component import check_against_manifest, inspect_component
from shared.errors import ComponentInvalid
from shared.manifest import parse_manifest
from tests.runner.api.door import Runner
from tests.runner.published import manifest
from tests.security.guests import guest, native
from tests.security.processes import Guest

GuestOf = Callable[[bytes], Guest]
TOOLCHAIN_VERSIONS = ("0.2.0", "0.2.9", "0.2.12")  # what guests import; every one of 0.2 fits

NETWORK = """
  (import "wasi:sockets/network@VERSION" (instance $network
    (export "network" (type (sub resource)))
    (type $family (enum "ipv4" "ipv6")) (export "ip-address-family" (type (eq $family)))
    (type $code (enum "unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory" "timeout"
      "concurrency-conflict" "not-in-progress" "would-block" "invalid-state" "new-socket-limit" "address-not-bindable"
      "address-in-use" "remote-unreachable" "connection-refused" "connection-reset" "connection-aborted"
      "datagram-too-large" "name-unresolvable" "temporary-resolver-failure" "permanent-resolver-failure"))
    (export "error-code" (type (eq $code)))))
  (alias export $network "network" (type $net))
  (alias export $network "ip-address-family" (type $family))
  (alias export $network "error-code" (type $code))
"""


def socket_interface(name: str, resource: str) -> str:
    """The import of `wasi:sockets/NAME-create-socket`."""
    return f"""
  (import "wasi:sockets/{name}@VERSION" (instance ${name} (export "{resource}" (type (sub resource)))))
  (alias export ${name} "{resource}" (type $socket))
  (import "wasi:sockets/{name}-create-socket@VERSION" (instance $create
    (alias outer 1 $family (type $f0)) (export "ip-address-family" (type $f (eq $f0)))
    (alias outer 1 $code (type $c0)) (export "error-code" (type $c (eq $c0)))
    (alias outer 1 $socket (type $s0)) (export "{resource}" (type $s (eq $s0)))
    (export "create-{name}-socket" (func (param "address-family" $f) (result (result (own $s) (error $c)))))))"""


WAYS_OUT = {  # what is called → imports, core type, canonical lowering, call
    "create-tcp-socket": (
        NETWORK + socket_interface("tcp", "tcp-socket"),
        "(param i32 i32)",
        '(canon lower (func $create "create-tcp-socket") (memory $memory))',
        "(call $f (i32.const 0) (i32.const 256))",
    ),
    "create-udp-socket": (
        NETWORK + socket_interface("udp", "udp-socket"),
        "(param i32 i32)",
        '(canon lower (func $create "create-udp-socket") (memory $memory))',
        "(call $f (i32.const 0) (i32.const 256))",
    ),
    "instance-network": (
        NETWORK
        + """
  (import "wasi:sockets/instance-network@VERSION" (instance $instance
    (alias outer 1 $net (type $n0)) (export "network" (type $n (eq $n0)))
    (export "instance-network" (func (result (own $n))))))""",
        "(result i32)",
        '(canon lower (func $instance "instance-network"))',
        "(drop (call $f))",
    ),
    "[constructor]fields": (
        """
  (import "wasi:http/types@VERSION" (instance $http
    (export "fields" (type $fields (sub resource)))
    (export "[constructor]fields" (func (result (own $fields))))))""",
        "(result i32)",
        '(canon lower (func $http "[constructor]fields"))',
        "(drop (call $f))",
    ),
    "[constructor]request-options": (
        """
  (import "wasi:http/types@VERSION" (instance $http
    (export "request-options" (type $options (sub resource)))
    (export "[constructor]request-options" (func (result (own $options))))))""",
        "(result i32)",
        '(canon lower (func $http "[constructor]request-options"))',
        "(drop (call $f))",
    ),
}


def way_out(name: str, version: str = "0.2.3") -> str:
    """A guest that tries it."""
    imports, core_type, canon, call = WAYS_OUT[name]
    return guest(
        f"{call} (call $answer (i32.const 256) (i32.const 4))",
        imports=imports.replace("VERSION", version),
        lowered={"f": (core_type, canon)},
    )


# ---- T22 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WAYS_OUT)
async def test_t22_every_other_way_to_the_network_traps_and_names_http_fetch(name: str, guest_of: GuestOf) -> None:
    result = await guest_of(native(way_out(name))).failed()
    assert result.kind == "trap"
    assert f"{name}: guests " in result.message
    assert "http.fetch" in result.message
    assert "cap:http.fetch" in result.message


@pytest.mark.parametrize("version", TOOLCHAIN_VERSIONS)
@pytest.mark.parametrize("name", ["create-tcp-socket", "[constructor]fields"])
async def test_t22_the_traps_stand_under_every_version_of_the_names(name: str, version: str, guest_of: GuestOf) -> None:
    assert "http.fetch" in (await guest_of(native(way_out(name, version))).failed()).message


async def test_t22_the_author_reads_it_in_the_debug_stream_and_the_caller_reads_nothing_of_it(
    pool: SandboxPool,
) -> None:
    runner = Runner(pool, native(way_out("create-tcp-socket")))
    status, answer = await runner.call()
    assert answer.error is not None
    assert (status, answer.error.code) == (502, "guest_trapped")
    assert "socket" not in answer.error.message
    assert any("http.fetch" in event.message for event in runner.sink.events)


def test_t22_every_function_of_sockets_and_http_is_a_trap() -> None:
    linker = Linker(make_engine(EngineOptions()))
    kept = offered.offer_wasi(linker, GuestClock())
    ours = {interface: set(functions) for part in kept for interface, functions in part.items()}
    for interface, functions in (wasi.SOCKETS | wasi.HTTP).items():
        assert ours[interface] == set(functions)


def test_t22_a_wasmtime_whose_names_are_others_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offered, "VERSION", "0.2.99")
    with pytest.raises(RuntimeError, match=r"create-tcp-socket.* in WASI 0\.2\.99"):
        offered.offer_wasi(Linker(make_engine(EngineOptions())), GuestClock())


def test_t22_what_publishing_accepts_of_wasi_is_what_the_linker_has() -> None:
    linker = Linker(make_engine(EngineOptions()))
    kept = offered.offer_wasi(linker, GuestClock())
    thunk = Thunk(trap_function(""))
    for interface, functions in wasi.FUNCTIONS.items():
        with linker.root() as root, root.add_instance(f"{interface}@{offered.VERSION}") as instance:
            assert [name for name in functions if define(instance, name, thunk)] == [], interface
    assert kept


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("acme:parcels/track", "track"),
        ("alga:extension/shell", "run"),
        ("wasi:nn/graph@0.2.0", "load"),
        ("wasi:cli/run@0.2.3", "run"),
        ("wasi:http/incoming-handler@0.2.3", "handle"),
        ("wasi:sockets/raw@0.2.3", "open"),
        ("wasi:cli/exit@0.3.0", "exit"),
    ],
)
def test_t22_an_interface_that_is_not_linked_is_refused_at_publish_by_name(
    name: str, function: str, tmp_path: Path
) -> None:
    facts = inspect_component(written(tmp_path, name, function), timeout_s=30)
    described = parse_manifest(msgspec.json.encode(manifest()))
    with pytest.raises(ComponentInvalid) as refused:
        check_against_manifest(facts, described, allow_unused_imports=True)
    assert (refused.value.code, refused.value.status) == ("component_invalid", 422)
    assert refused.value.detail.startswith(f"import {name}")


def test_t22_a_function_that_is_not_linked_is_refused_at_publish_by_name(tmp_path: Path) -> None:
    path = written(tmp_path, "wasi:cli/exit@0.2.3", "exit-with-code")
    with pytest.raises(ComponentInvalid) as refused:
        inspect_component(path, timeout_s=30)
    assert refused.value.detail == "import wasi:cli/exit@0.2.3: there is no function exit-with-code"


def written(folder: Path, interface: str, function: str) -> Path:
    """A component that imports one function without parameters."""
    imported = f'(import "{interface}" (instance $x (export "{function}" (func))))'
    path = folder / "main.wasm"
    path.write_bytes(wat2wasm(guest("(unreachable)", imports=imported)))
    return path


async def test_t22_there_is_not_one_directory_variable_or_argument(guest_of: GuestOf) -> None:
    imports = """
  (import "wasi:filesystem/types@0.2.3" (instance $types-of-files (export "descriptor" (type (sub resource)))))
  (alias export $types-of-files "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@0.2.3" (instance $preopens
    (alias outer 1 $descriptor (type $d0)) (export "descriptor" (type $d (eq $d0)))
    (type $pair (tuple (own $d) string)) (type $pairs (list $pair))
    (export "get-directories" (func (result $pairs)))))
  (import "wasi:cli/environment@0.2.3" (instance $environment
    (type $pair (tuple string string)) (type $pairs (list $pair)) (type $texts (list string))
    (export "get-environment" (func (result $pairs)))
    (export "get-arguments" (func (result $texts)))))"""
    lists = ("directories", "preopens"), ("environment", "environment"), ("arguments", "environment")
    lowered = {
        name: (
            "(param i32)",
            f'(canon lower (func ${instance} "get-{name}") (memory $memory) (realloc $realloc))',
        )
        for name, instance in lists
    }
    calls = " ".join(f"(call ${name} (i32.const {256 + 8 * at}))" for at, (name, _) in enumerate(lists))
    wat = guest(f"{calls} (call $answer (i32.const 256) (i32.const 24))", imports=imports, lowered=lowered)
    assert (await guest_of(native(wat)).numbers("<6i"))[1::2] == (0, 0, 0)


# ---- T24 ------------------------------------------------------------------------------------------------------


CLOCKS = """
  (import "wasi:clocks/monotonic-clock@0.2.3" (instance $monotonic
    (export "now" (func (result u64))) (export "resolution" (func (result u64)))))
  (import "wasi:clocks/wall-clock@0.2.3" (instance $wall
    (type $pair (record (field "seconds" u64) (field "nanoseconds" u32))) (export "datetime" (type $datetime (eq $pair)))
    (export "now" (func (result $datetime))) (export "resolution" (func (result $datetime)))))"""
READINGS = 5
# Looks at the clock until it has seen it change four times; says what it saw, then the other three functions' answers.
WATCHER = guest(
    f"""(loop $look
         (local.set $t (call $now))
         (if (i64.ne (local.get $t) (local.get $u)) (then
           (i64.store (i32.add (i32.const 256) (local.get $n)) (local.get $t))
           (local.set $u (local.get $t))
           (local.set $n (i32.add (local.get $n) (i32.const 8)))))
         (br_if $look (i32.lt_u (local.get $n) (i32.const {8 * READINGS}))))
       (i64.store (i32.const {256 + 8 * READINGS}) (call $resolution))
       (call $wall-now (i32.const {264 + 8 * READINGS}))
       (call $wall-resolution (i32.const {280 + 8 * READINGS}))
       (call $answer (i32.const 256) (i32.const {40 + 8 * READINGS}))""",
    imports=CLOCKS,
    lowered={
        "now": ("(result i64)", '(canon lower (func $monotonic "now"))'),
        "resolution": ("(result i64)", '(canon lower (func $monotonic "resolution"))'),
        "wall-now": ("(param i32)", '(canon lower (func $wall "now") (memory $memory))'),
        "wall-resolution": ("(param i32)", '(canon lower (func $wall "resolution") (memory $memory))'),
    },
)


async def test_t24_both_clocks_are_rounded_to_a_millisecond_and_say_so(guest_of: GuestOf) -> None:
    before_ms = time.time_ns() // RESOLUTION_NS
    found = await guest_of(native(WATCHER)).numbers(f"<{READINGS}QQQI4xQI4x")
    after_ms = time.time_ns() // RESOLUTION_NS
    seen, (resolution, seconds, nanoseconds, *wall_resolution) = found[:READINGS], found[READINGS:]
    assert RESOLUTION_NS == 1_000_000
    assert [now % RESOLUTION_NS for now in seen] == [0] * READINGS
    assert sorted(set(seen)) == list(seen)
    assert resolution == RESOLUTION_NS
    assert wall_resolution == [0, RESOLUTION_NS]
    assert nanoseconds % RESOLUTION_NS == 0
    assert before_ms <= seconds * 1000 + nanoseconds // RESOLUTION_NS <= after_ms


async def test_t24_the_monotonic_clock_begins_anew_in_each_call(guest_of: GuestOf) -> None:
    guest = guest_of(native(WATCHER))
    for _ in range(3):
        first = (await guest.numbers(f"<{READINGS + 5}Q"))[0]
        assert first < 1_000 * RESOLUTION_NS  # of this call, not of the machine


SLEEPER = guest(  # notes the time, asks to be woken 20 ms later, by an instant, and notes the time again
    """(local.set $t (call $now))
       (call $block (call $subscribe (i64.add (local.get $t) (i64.const 20000000))))
       (i64.store (i32.const 256) (i64.sub (call $now) (local.get $t)))
       (call $answer (i32.const 256) (i32.const 8))""",
    imports="""
  (import "wasi:io/poll@0.2.3" (instance $poll
    (export "pollable" (type $p (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $p))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.3" (instance $clock
    (alias outer 1 $pollable (type $p0)) (export "pollable" (type $p (eq $p0)))
    (export "now" (func (result u64)))
    (export "subscribe-instant" (func (param "when" u64) (result (own $p))))))""",
    lowered={
        "now": ("(result i64)", '(canon lower (func $clock "now"))'),
        "subscribe": ("(param i64) (result i32)", '(canon lower (func $clock "subscribe-instant"))'),
        "block": ("(param i32)", '(canon lower (func $poll "[method]pollable.block"))'),
    },
)


async def test_t24_waiting_goes_by_the_same_clock(guest_of: GuestOf) -> None:
    guest = guest_of(native(SLEEPER))
    for _ in range(3):
        (waited_ns,) = await guest.numbers("<Q")
        assert 20 * RESOLUTION_NS <= waited_ns < 1_000 * RESOLUTION_NS


def test_t24_the_clock_rounds_down_and_never_goes_below_zero() -> None:
    monotonic, wall = iter([5_000_000, 5_999_999, 6_000_000, 4_000_000]), iter([1_700_000_000_123_999_999, 0])
    clock = GuestClock(lambda: next(monotonic), lambda: next(wall))
    clock.begin()
    assert [clock.monotonic_ns() for _ in range(3)] == [0, 1_000_000, 0]
    assert [clock.wall() for _ in range(2)] == [(1_700_000_000, 123_000_000), (0, 0)]


@pytest.mark.parametrize(
    ("what", "definitions"),
    [
        ("shared memory", "(memory $shared 1 1 shared)"),
        ("an atomic instruction", "(func (drop (i32.atomic.load (i32.const 0))))"),
    ],
)
def test_t24_threads_that_could_count_time_are_refused_at_publish(what: str, definitions: str, tmp_path: Path) -> None:
    wat = guest("(unreachable)", definitions=definitions)
    path = tmp_path / "main.wasm"
    path.write_bytes(wat2wasm(wat))
    with pytest.raises(ComponentInvalid):
        inspect_component(path, timeout_s=30)
    with pytest.raises(WasmtimeError):
        Component(make_engine(EngineOptions()), wat)
