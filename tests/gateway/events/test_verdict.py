"""What an outcome means for a delivery: each status, each code, each pause."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.events import verdict
from gateway.proxy.unattended import Outcome
from shared.errors import BY_CODE, Blame
from shared.limits import (
    EVENT_ATTEMPTS_MAX,
    EVENT_BACKOFF_FIRST_S,
    EVENT_BACKOFF_MAX_S,
    EVENT_UNAVAILABLE_RETRY_S,
)


def test_each_status_a_handler_can_answer_with() -> None:
    temporary = {408, 425, 429}
    expected = {
        **dict.fromkeys(range(200, 300), ("delivered", False)),
        **dict.fromkeys(range(300, 600), ("waiting", True)),
        **dict.fromkeys(set(range(400, 500)) - temporary, ("dead", True)),
    }
    for status, wanted in expected.items():
        found = verdict.judge(Outcome(status=status, started=True, execution_id="x"), 0, 0.5)
        assert (found.state, found.failed) == wanted, status
        assert (found.pause_s > 0) is (found.state == "waiting")
        assert (found.http_status, found.execution_id) == (status, "x")


@pytest.mark.parametrize("code", sorted(BY_CODE))
@pytest.mark.parametrize("started", [True, False])
def test_each_code_a_call_can_end_with(code: str, started: bool) -> None:
    found = verdict.judge(Outcome(code=code, detail="why", started=started), 0, 0)
    if code in ("endpoint_not_found", "invalid_path"):
        assert found.state == "dead"
        return
    assert (found.state, found.code, found.detail) == ("waiting", code, "why")
    rests = code in ("extension_disabled", "revoked", "not_installed")
    assert found.failed is (not rests and (started or BY_CODE[code].blame is Blame.GUEST))
    if not found.failed:
        assert found.pause_s == EVENT_UNAVAILABLE_RETRY_S


@pytest.mark.parametrize(
    ("failures", "state"),
    [(EVENT_ATTEMPTS_MAX - 2, "waiting"), (EVENT_ATTEMPTS_MAX - 1, "dead"), (EVENT_ATTEMPTS_MAX, "dead")],
)
def test_the_last_failure_of_so_many_is_the_end(failures: int, state: str) -> None:
    assert verdict.judge(Outcome(status=500, started=True), failures, 0).state == state


def test_what_could_not_begin_is_tried_for_as_long_as_it_waits() -> None:
    assert verdict.judge(Outcome(code="overloaded"), EVENT_ATTEMPTS_MAX, 0).state == "waiting"


def test_the_pauses_grow_up_to_an_hour_and_add_up_to_one_and_a_half() -> None:
    pauses = [verdict.pause_s(failures, 0) for failures in range(1, EVENT_ATTEMPTS_MAX)]
    assert pauses == [1, 4, 16, 64, 256, 1024, 3600]
    assert pauses[0] == EVENT_BACKOFF_FIRST_S
    assert pauses[-1] == EVENT_BACKOFF_MAX_S


@given(st.integers(1, 100), st.floats(0, 1))
def test_jitter_takes_up_to_half_of_a_pause(failures: int, jitter: float) -> None:
    whole_s = verdict.pause_s(failures, 0)
    assert whole_s / 2 <= verdict.pause_s(failures, jitter) <= whole_s <= EVENT_BACKOFF_MAX_S


def test_a_long_reason_is_cut() -> None:
    found = verdict.judge(Outcome(code="guest_trapped", detail="x" * 5000, started=True), 0, 0)
    assert found.detail is not None
    assert len(found.detail) == 500
