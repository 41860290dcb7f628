"""Who may ask for a compilation: the table of used tokens is bounded and forgets what has expired."""

from __future__ import annotations

import pytest

from runner.aot import callers as callers_module
from runner.aot.callers import Callers
from shared.errors import Unauthorized
from shared.keys import PrivateKey
from shared.limits import CLOCK_SKEW_S
from shared.tokens import IdentityClaims, mint

pytestmark = pytest.mark.security

KEY = PrivateKey.generate()


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def bearer(jti: str, clock: Clock, lifetime_s: int = 60) -> str:
    now = int(clock.now)
    claims = IdentityClaims(iss=KEY.key_id, aud="compiler", jti=jti, iat=now, exp=now + lifetime_s)
    return f"Bearer {mint(KEY, claims)}"


def test_a_good_token_names_its_key(clock: Clock):
    assert Callers([KEY.public], clock).check(bearer("1", clock), b"") == KEY.key_id


@pytest.mark.parametrize("scheme", ["", "Basic ", "Token "])
def test_another_scheme_is_refused(clock: Clock, scheme: str):
    with pytest.raises(Unauthorized):
        Callers([KEY.public], clock).check(bearer("1", clock).replace("Bearer ", scheme), b"")


def test_a_token_is_refused_the_second_time_for_as_long_as_it_could_be_valid(clock: Clock):
    callers = Callers([KEY.public], clock)
    header = bearer("1", clock)
    callers.check(header, b"")
    for later_s in (0, 59, 60, 60 + CLOCK_SKEW_S, 61 + CLOCK_SKEW_S):
        clock.now = 1_800_000_000.0 + later_s
        with pytest.raises(Unauthorized):
            callers.check(header, b"")


def test_a_full_table_refuses_rather_than_forgets(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(callers_module, "SEEN_MAX", 3)
    callers = Callers([KEY.public], clock)
    for number in range(3):
        callers.check(bearer(str(number), clock), b"")
    with pytest.raises(Unauthorized):
        callers.check(bearer("4", clock), b"")
    clock.now += 61 + CLOCK_SKEW_S
    callers.check(bearer("5", clock), b"")


def test_the_first_to_expire_is_forgotten_first(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(callers_module, "SEEN_MAX", 2)
    callers = Callers([KEY.public], clock)
    callers.check(bearer("long", clock, 60), b"")
    callers.check(bearer("short", clock, 10), b"")
    clock.now += 11 + CLOCK_SKEW_S
    callers.check(bearer("next", clock), b"")
    with pytest.raises(Unauthorized):
        callers.check(bearer("one more", clock), b"")
