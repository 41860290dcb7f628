"""Idle sandboxes: found by tenant, last used first; what they keep of their memory fits a bound."""

from __future__ import annotations

from typing import Any, cast

import pytest

from runner.sandbox.idle import Idle
from runner.sandbox.process import Sandbox
from shared.limits import KEPT_IDLE_S, MIB, TRIM_IDLE_S

NOW_S = 1000.0


class Waiting:
    """What the order sees of a sandbox."""

    def __init__(self, tenant: str, idle_s: float = 0.0, kept_mib: int = 1) -> None:
        self.tenant = tenant
        self.idle_since_s = NOW_S - idle_s
        self.kept_bytes = kept_mib * MIB
        self.trimmed = False

    def trim(self) -> None:
        self.trimmed = True


def idle(kept_mib: int, *waiting: Waiting) -> Idle:
    found = Idle(kept_mib * MIB)
    for one in waiting:
        found.add(cast("Sandbox", one))
    return found


def trimmed(kept_mib: int, *waiting: Waiting) -> list[str]:
    """Whose memory was given back."""
    idle(kept_mib, *waiting).trim(NOW_S)
    return [one.tenant for one in waiting if one.trimmed]


def test_a_tenants_sandboxes_are_found_last_used_first_and_nobody_elses() -> None:
    one, other, again = Waiting("a"), Waiting("b"), Waiting("a")
    found = idle(0, one, other, again)
    assert found.of("a") == [cast("Any", again), one]
    assert found.of("c") == []
    assert found.oldest() is cast("Any", one)
    found.leave(cast("Sandbox", again))
    found.leave(cast("Sandbox", again))  # twice is harmless
    assert found.of("a") == [cast("Any", one)]
    assert len(found) == len(list(found)) == 2
    found.leave(cast("Sandbox", one))
    assert found.of("a") == []


@pytest.mark.parametrize(("room", "expected"), [(4, []), (3, ["a"]), (2, ["a", "b"]), (0, ["a", "b", "c"])])
def test_who_waited_longest_gives_back_what_is_too_much(room: int, expected: list[str]) -> None:
    waiting = [Waiting("a", 9), Waiting("b", 8), Waiting("c", 7), Waiting("d", TRIM_IDLE_S - 0.1)]
    assert trimmed(room, *waiting) == expected  # the last one counts, and keeps its own for now


def test_after_a_while_everybody_gives_back_however_much_room_there_is() -> None:
    waiting = [Waiting("a", KEPT_IDLE_S), Waiting("b", KEPT_IDLE_S - 0.1)]
    assert trimmed(1000, *waiting) == ["a"]


def test_what_was_given_back_counts_no_more_and_is_not_asked_for_again() -> None:
    big = Waiting("big", 20, kept_mib=100)
    found = idle(10, big, Waiting("b", 2))
    found.trim(NOW_S)
    assert big.trimmed
    big.trimmed = True
    asked: list[str] = []
    big.trim = lambda: asked.append("again")  # type: ignore[method-assign]
    found.trim(NOW_S)
    assert asked == []
