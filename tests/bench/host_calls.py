"""A guest that makes a thousand host calls, so that one can be timed without what surrounds it.

`/c…` asks `context.get-context`, which its sandbox answers by itself. Anything else asks `secrets.list-keys`, which goes
to the worker and back: nothing of it is answered inside, and it carries nothing.
"""

from __future__ import annotations

from typing import Final

from tests.security.guests import guest

CALLS: Final = 1_000
CONTEXT_URL: Final = "/context"
WORKER_URL: Final = "/worker"
GRANTS: Final = ("cap:context.read", "cap:secrets.get")

_IMPORTS: Final = """
  (alias export $types "context-data" (type $context-data))
  (type $context-functions (instance
    (alias outer 1 $context-data (type $data)) (export "context-data" (type $named (eq $data)))
    (export "get-context" (func (result $named)))))
  (import "alga:extension/context" (instance $context (type $context-functions)))
  (import "alga:extension/secrets" (instance $secrets (export "list-keys" (func (result (list string))))))
"""
_LOWERED: Final = {
    name: ("(param i32)", f'(canon lower (func ${interface} "{function}") (memory $memory) (realloc $realloc))')
    for name, interface, function in (("own", "context", "get-context"), ("worker", "secrets", "list-keys"))
}
_HANDLER: Final = """
  (local.set $a (i32.load8_u offset=1 (i32.load offset=60 (local.get $request))))
  (local.set $n (i32.const CALLS))
  (loop $more
    (if (i32.eq (local.get $a) (i32.const 99)) (then (call $own (i32.const 256))) (else (call $worker (i32.const 256))))
    (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
  (call $answer (i32.const 0) (i32.const 0))
"""


def calling_guest() -> str:
    """The guest as text."""
    return guest(_HANDLER.replace("CALLS", str(CALLS)), imports=_IMPORTS, lowered=_LOWERED)
