"""What an attempt's outcome means for its delivery: delivered, tried again after a pause, or a dead letter. Pure.

the handler answered 2xx                 delivered
it answered 408, 425 or 429, 3xx or 5xx  a failure; tried again, `EVENT_ATTEMPTS_MAX` times in all
it answered any other 4xx                a dead letter at once: the handler says that the event itself is wrong, and
                                         the same bytes will be as wrong the next time
it failed (trap, time, memory), or       a failure; tried again
  may have when its answer was lost
the platform could not begin             tried again, and not counted against the extension
the install rests (disabled, revoked)    waits until it runs again, and is not counted
no such handler, or no subscription      a dead letter at once: nothing but another version can change it

Of a 4xx the handler is believed; whoever repairs it sends the dead letter again.
"""

from __future__ import annotations

from typing import Final

from gateway.proxy.unattended import Outcome
from gateway.store.deliveries import Settlement, State
from shared.errors import (
    BY_CODE,
    Blame,
    EndpointNotFound,
    ExtensionDisabled,
    InvalidPath,
    NotInstalled,
    Revoked,
)
from shared.limits import (
    EVENT_ATTEMPTS_MAX,
    EVENT_BACKOFF_FIRST_S,
    EVENT_BACKOFF_MAX_S,
    EVENT_UNAVAILABLE_RETRY_S,
)

NOT_SUBSCRIBED: Final = Settlement(
    state="dead",
    code="not_subscribed",
    detail="the installed version does not subscribe to this topic; redeliver when one does",
)

_TEMPORARY: Final = frozenset({408, 425, 429})  # RFC 9110 §15.5.9, RFC 8470 §5.2, RFC 6585 §4: later it may work
_FINAL: Final = frozenset({EndpointNotFound.code, InvalidPath.code})
_RESTING: Final = frozenset({ExtensionDisabled.code, Revoked.code, NotInstalled.code})
_FACTOR: Final = 4
_DETAIL_MAX_CHARS: Final = 500


def judge(outcome: Outcome, failures: int, jitter: float) -> Settlement:
    """What becomes of a delivery.

    Args:
        outcome: of this attempt.
        failures: how often the extension failed on this event before.
        jitter: from 0 to 1; spreads attempts that failed together.
    """
    if outcome.ok:
        return _settled(outcome, "delivered")
    if outcome.status is not None:
        if 400 <= outcome.status < 500 and outcome.status not in _TEMPORARY:
            return _settled(outcome, "dead", failed=True)
        return _failed(outcome, failures, jitter)
    code = outcome.code or ""
    if code in _FINAL:
        return _settled(outcome, "dead", failed=True)
    kind = BY_CODE.get(code)
    if code not in _RESTING and (outcome.started or (kind is not None and kind.blame is Blame.GUEST)):
        return _failed(outcome, failures, jitter)
    return _settled(outcome, "waiting", pause_s=EVENT_UNAVAILABLE_RETRY_S * (1 + jitter))


def pause_s(failures: int, jitter: float) -> float:
    """The pause after the n-th failure: 1, 4, 16, … s up to an hour, less up to half of it."""
    whole_s: float = min(EVENT_BACKOFF_MAX_S, EVENT_BACKOFF_FIRST_S * _FACTOR ** (failures - 1))
    return whole_s * (1 - jitter / 2)


def _failed(outcome: Outcome, failures: int, jitter: float) -> Settlement:
    if failures + 1 >= EVENT_ATTEMPTS_MAX:
        return _settled(outcome, "dead", failed=True)
    return _settled(outcome, "waiting", failed=True, pause_s=pause_s(failures + 1, jitter))


def _settled(outcome: Outcome, state: State, *, failed: bool = False, pause_s: float = 0) -> Settlement:
    detail = outcome.detail or (None if outcome.ok else f"the handler answered {outcome.status}")
    return Settlement(
        state=state,
        failed=failed,
        pause_s=pause_s,
        http_status=outcome.status,
        code=outcome.code,
        detail=None if detail is None else detail[:_DETAIL_MAX_CHARS],
        execution_id=outcome.execution_id,
    )
