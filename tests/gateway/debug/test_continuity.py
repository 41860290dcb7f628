"""Whether everything was seen: told from the entries alone, never silently wrong and never twice."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.debug.continuity import Continuity
from gateway.debug.entries import Entry, parsed
from gateway.debug.sse import Gap
from gateway.streams.debug import RawEntry
from shared.debug_event import ExtDebugEvent
from shared.debug_stream import StreamGap
from shared.limits import DEBUG_LOST_GRACE_S, DEBUG_TRACKED_MAX, TIMEOUT_MAX_MS
from tests.debug_events import EXTENSION, event
from tests.gateway.debug.written import Writing, end, line, start, whole

GRACE = DEBUG_LOST_GRACE_S


def entries(writing: Writing, *said: ExtDebugEvent | StreamGap | None) -> list[Entry]:
    return [writing.entry(one, at) for at, one in enumerate(said, writing.number + 1)]


def gaps(continuity: Continuity, found: Sequence[Entry], now_s: float = 0.0) -> list[Gap]:
    return [gap for entry in found for gap in continuity.take(entry, now_s).gaps]


def test_a_whole_stream_has_no_gap() -> None:
    continuity = Continuity()
    assert gaps(continuity, entries(Writing(), *whole("e1"), *whole("e2"), None)) == []
    assert continuity.overdue(1e9) == []


def test_a_missing_number_is_a_loss_with_a_count() -> None:
    first, _, _, fourth = entries(Writing(), *(event(str(number), execution_id="") for number in range(4)))
    assert gaps(Continuity(), [first, fourth]) == [Gap(reason="lost", count=2)]


def test_where_one_begins_to_look_is_no_loss() -> None:
    _, _, third = entries(Writing(), *(event(str(number), execution_id="") for number in range(3)))
    assert gaps(Continuity(), [third]) == []


def test_an_entry_that_was_written_twice_is_shown_once() -> None:
    continuity, found = Continuity(), entries(Writing(), *whole("e"))
    verdicts = [continuity.take(entry, 0) for entry in [*found, *found]]
    assert [verdict.again for verdict in verdicts] == [False] * 3 + [True] * 3
    assert not any(verdict.gaps for verdict in verdicts)


def test_what_a_writer_dropped_is_passed_on() -> None:
    found = entries(Writing(), start("e"), StreamGap(count=9, reason="overflow"), line("e", 12))
    assert gaps(Continuity(), found) == [Gap(reason="dropped", count=9)]


def test_what_redis_refused_is_told_once_though_its_number_is_missing_too() -> None:
    first, _, gap = entries(Writing(), event("a"), event("b"), StreamGap(count=1, reason="refused"))
    assert gaps(Continuity(), [first, gap]) == [Gap(reason="dropped", count=1)]


def test_a_hole_before_a_writers_own_gap_is_told_as_well() -> None:
    first, _, gap = entries(Writing(), event("a"), event("b"), StreamGap(count=5, reason="overflow"))
    assert gaps(Continuity(), [first, gap]) == [Gap(reason="lost", count=1), Gap(reason="dropped", count=5)]


def test_an_entry_that_cannot_be_read_is_missing() -> None:
    assert gaps(Continuity(), [parsed(RawEntry("1-0", {b"x": b"y"}), "acme", EXTENSION)]) == [
        Gap(reason="unreadable", count=1)
    ]


# ---- executions -------------------------------------------------------------------------------------------------------


def test_an_execution_without_an_end_is_told_once_some_time_after_its_deadline() -> None:
    continuity = Continuity()
    assert gaps(continuity, entries(Writing(), start("e", 1000), line("e")), now_s=10.0) == []
    assert continuity.overdue(10.9 + GRACE) == []
    missing = Gap(reason="unfinished", request_id="r-1", execution_id="e", after_seq=2)
    assert continuity.overdue(11.0 + GRACE) == [missing]
    assert continuity.overdue(1e9) == []


def test_an_old_execution_without_an_end_is_overdue_soon() -> None:
    continuity = Continuity()
    (entry,) = entries(Writing(), start("e", 1000))
    continuity.take(entry, 10.0, age_s=600.0)
    assert continuity.overdue(10.0 + GRACE)


def test_an_execution_whose_beginning_was_not_seen_may_last_as_long_as_any() -> None:
    continuity = Continuity()
    gaps(continuity, entries(Writing(), line("e")), now_s=0.0)
    assert continuity.overdue(TIMEOUT_MAX_MS / 1000 + GRACE - 0.1) == []
    assert len(continuity.overdue(TIMEOUT_MAX_MS / 1000 + GRACE)) == 1


@pytest.mark.parametrize("text", ["", "x", "-1", "1e9", "9" * 30])
def test_a_deadline_that_is_none_is_the_longest(text: str) -> None:
    continuity = Continuity()
    found = event("GET /", seq=1, data={"kind": "execution.start", "timeout_ms": text}, execution_id="e")
    gaps(continuity, entries(Writing(), found))
    assert continuity.overdue(TIMEOUT_MAX_MS / 1000 + GRACE - 0.1) == []
    assert len(continuity.overdue(TIMEOUT_MAX_MS / 1000 + GRACE)) == 1


def test_what_a_gap_may_have_swallowed_is_not_told_a_second_time() -> None:
    continuity = Continuity()
    gaps(continuity, entries(Writing(), start("e"), StreamGap(count=1, reason="overflow")))
    assert continuity.overdue(1e9) == []


def test_a_stream_that_was_away_gives_executions_more_time() -> None:
    continuity = Continuity()
    gaps(continuity, entries(Writing(), start("e", 1000)))
    continuity.postpone(100.0)
    assert continuity.overdue(99.0) == []
    assert len(continuity.overdue(100.0)) == 1


def test_as_many_executions_as_there_may_be_are_followed_and_the_oldest_is_let_go() -> None:
    continuity = Continuity()
    gaps(continuity, entries(Writing(), *(start(f"e{number}") for number in range(DEBUG_TRACKED_MAX + 1))))
    late = continuity.overdue(1e9)
    assert len(late) == DEBUG_TRACKED_MAX
    assert late[0].execution_id == "e1"


# ---- writers ----------------------------------------------------------------------------------------------------------


def test_a_worker_that_begins_anew_without_having_ended_has_died() -> None:
    continuity = Continuity()
    assert gaps(continuity, entries(Writing("a.0"), start("e"), line("e"))) == []
    assert gaps(continuity, entries(Writing("b.0"), *whole("f"))) == [Gap(reason="runner_restarted")]
    assert continuity.overdue(1e9) == []  # the execution it ran is part of that gap


def test_a_worker_that_ended_in_order_may_begin_anew() -> None:
    continuity = Continuity()
    assert gaps(continuity, entries(Writing("a.0"), *whole("e"), None)) == []
    assert gaps(continuity, entries(Writing("b.0"), *whole("f"), None)) == []


def test_another_worker_says_nothing_about_this_one() -> None:
    continuity = Continuity()
    first, second = Writing("a.0", "pod-1:8080/0"), Writing("b.0", "pod-1:8080/1")
    found = [writer.entry(event("x", execution_id=""), at) for at, writer in enumerate([first, second] * 3, 1)]
    assert gaps(continuity, found) == []


def test_two_runners_of_one_name_are_taken_for_a_restart_once_and_then_for_two() -> None:
    continuity = Continuity()
    first, second = Writing("a.0"), Writing("b.0")
    found = [writer.entry(event("x", execution_id=""), at) for at, writer in enumerate([first, second] * 5, 1)]
    assert gaps(continuity, found) == [Gap(reason="runner_restarted")]


def test_many_writers_are_bounded() -> None:
    continuity = Continuity()
    for number in range(DEBUG_TRACKED_MAX + 50):
        gaps(continuity, entries(Writing(f"{number:x}.0", f"pod-{number}/0"), event("x", execution_id="")))
    assert len(continuity._writers) == len(continuity._current) == DEBUG_TRACKED_MAX


def test_after_a_restart_nothing_is_known() -> None:
    continuity = Continuity()
    first, _, third = entries(Writing(), start("e"), line("e"), end("e"))
    gaps(continuity, [first])
    continuity.restart()
    assert gaps(continuity, [third]) == []
    assert continuity.overdue(1e9) == []


@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=30),
    st.data(),
)
def test_whatever_is_lost_is_counted_exactly_and_nothing_else(turns: list[int], data: st.DataObject) -> None:
    writers = [Writing("a.0", f"pod-{number}/0") for number in range(3)]
    made = [writers[turn].entry(event("x", execution_id=""), at) for at, turn in enumerate(turns, 1)]
    kept = data.draw(st.lists(st.booleans(), min_size=len(made), max_size=len(made)))
    twice = data.draw(st.lists(st.booleans(), min_size=len(made), max_size=len(made)))
    seen: list[Entry] = []
    for entry, keep, again in zip(made, kept, twice, strict=True):
        seen += [entry] * (keep * (1 + again))
    continuity = Continuity()
    verdicts = [continuity.take(entry, 0.0) for entry in seen]
    shown = [entry for entry, verdict in zip(seen, verdicts, strict=True) if not verdict.again]
    assert shown == [entry for entry, keep in zip(made, kept, strict=True) if keep]
    counted = sum(gap.count or 0 for verdict in verdicts for gap in verdict.gaps)
    between = 0
    for writer in writers:
        numbers = [entry.number for entry in shown if entry.writer == writer.name]
        between += (numbers[-1] - numbers[0] + 1 - len(numbers)) if numbers else 0
    assert counted == between
