"""What waits for Redis: in order, bounded, numbered without holes, every loss told once."""

from __future__ import annotations

from collections import Counter

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from runner.debug.buffer import Buffer, Entry, Fate
from shared.debug_stream import END, EVENT, GAP, NUMBER, WRITER
from shared.limits import DEBUG_BATCH_MAX_BYTES, DEBUG_BATCH_MAX_COUNT, KIB, MIB


class Made:
    """A buffer, and what it said it lost."""

    def __init__(self, *, max_bytes: int = MIB, lane_max_count: int = 100, lanes_max: int = 10) -> None:
        self.lost = 0
        self.buffer = Buffer(
            "pod-1",
            0,
            "aa",
            max_bytes=max_bytes,
            lane_max_count=lane_max_count,
            dropped=self._dropped,
            lanes_max=lanes_max,
        )

    def _dropped(self, count: int) -> None:
        self.lost += count

    def drain(self) -> list[Entry]:
        """Everything, as if Redis took it."""
        found: list[Entry] = []
        self.buffer.settle()
        while batch := self.buffer.batch():
            found += batch
            self.buffer.settled(["written"] * len(batch))
            self.buffer.settle()
        return found


def said(entry: Entry) -> str:
    if GAP in entry.fields:
        gap = msgspec.json.decode(entry.fields[GAP])
        return f"{gap['reason']} {gap['count']}"
    return "end" if END in entry.fields else entry.fields[EVENT].decode()


def numbers(entries: list[Entry]) -> list[int]:
    return [int(entry.fields[NUMBER]) for entry in entries]


def test_entries_leave_in_the_order_they_came_and_each_stream_has_its_own_numbers() -> None:
    made = Made()
    for key, text in (("a", b"1"), ("b", b"2"), ("a", b"3")):
        made.buffer.add(key, text)
    entries = made.drain()
    assert [(entry.lane.key, said(entry)) for entry in entries] == [("a", "1"), ("b", "2"), ("a", "3")]
    assert numbers(entries) == [1, 1, 2]
    assert len({entry.fields[WRITER] for entry in entries}) == 2
    assert entries[0].fields == {b"writer": b"pod-1/0/aa.0", b"number": b"1", b"event": b"1"}
    assert made.buffer.size_bytes == 0


def test_a_stream_may_have_as_many_entries_waiting_as_redis_keeps_of_it() -> None:
    made = Made(lane_max_count=3)
    for number in range(5):
        made.buffer.add("a", b"%d" % number)
    made.buffer.add("b", b"other")
    assert made.lost == 2
    entries = made.drain()
    assert [said(entry) for entry in entries] == ["0", "1", "2", "other", "overflow 2"]
    assert numbers([entry for entry in entries if entry.lane.key == "a"]) == [1, 2, 3, 4]


def test_a_gap_stands_where_the_events_are_missing() -> None:
    made = Made(lane_max_count=2)
    for number in range(3):
        made.buffer.add("a", b"%d" % number)
    made.buffer.settled(["written"] * len(made.buffer.batch()))
    made.buffer.add("a", b"later")
    assert [said(entry) for entry in made.drain()] == ["overflow 1", "later"]


def test_one_stream_may_fill_a_quarter_of_the_buffer_and_all_together_the_whole() -> None:
    made = Made(max_bytes=64 * KIB, lane_max_count=1000)
    for number in range(1000):
        made.buffer.add("flood", b"x" * 512)
        if number == 500:
            made.buffer.add("quiet", b"still heard")
    assert made.buffer.size_bytes <= 17 * KIB
    for key in "abcdefg":
        for _ in range(1000):
            made.buffer.add(key, b"x" * 512)
    assert made.buffer.size_bytes <= 64 * KIB
    entries = made.drain()
    assert "still heard" in [said(entry) for entry in entries]
    assert made.lost == 8001 - sum(EVENT in entry.fields for entry in entries)


def test_batches_are_bounded_in_number_and_in_bytes() -> None:
    made = Made(max_bytes=64 * MIB, lane_max_count=10_000)
    for _ in range(DEBUG_BATCH_MAX_COUNT + 1):
        made.buffer.add("a", b"x")
    assert len(made.buffer.batch()) == DEBUG_BATCH_MAX_COUNT
    made.drain()
    for _ in range(3):
        made.buffer.add("a", b"x" * (DEBUG_BATCH_MAX_BYTES // 2))
    assert len(made.buffer.batch()) == 1


def test_an_entry_larger_than_a_batch_is_a_batch() -> None:
    made = Made(max_bytes=64 * MIB)
    made.buffer.add("a", b"x" * (2 * DEBUG_BATCH_MAX_BYTES))
    assert len(made.buffer.batch()) == 1


def test_what_may_not_have_been_written_stays_in_its_place() -> None:
    made = Made()
    for number in range(3):
        made.buffer.add("a", b"%d" % number)
    made.buffer.batch()
    made.buffer.settled(["written", "unknown", "unknown"])
    assert [said(entry) for entry in made.drain()] == ["1", "2"]


def test_what_redis_refuses_is_told_and_a_refused_gap_waits_for_the_next_event() -> None:
    made = Made()
    made.buffer.add("a", b"0")
    made.buffer.batch()
    made.buffer.settled(["refused"])
    assert made.lost == 1
    made.buffer.settle()
    (gap,) = made.buffer.batch()
    assert said(gap) == "refused 1"
    made.buffer.settled(["refused"])
    made.buffer.settle()
    assert len(made.buffer) == 0
    made.buffer.add("a", b"1")
    assert [said(entry) for entry in made.drain()] == ["refused 1", "1"]
    assert made.lost == 1


def test_the_end_is_said_in_every_stream_after_what_was_lost() -> None:
    made = Made(lane_max_count=1)
    for key in ("a", "a", "b"):
        made.buffer.add(key, b"x")
    made.buffer.end()
    assert [(entry.lane.key, said(entry)) for entry in made.drain()] == [
        ("a", "x"),
        ("b", "x"),
        ("a", "overflow 1"),
        ("a", "end"),
        ("b", "end"),
    ]


def test_the_stream_that_was_quiet_longest_is_ended_for_a_new_one_and_comes_back_as_another_writer() -> None:
    made = Made(lanes_max=2)
    for key in ("a", "b", "a", "c", "b"):
        made.buffer.add(key, b"x")
    entries = made.drain()
    assert [(entry.lane.key, said(entry)) for entry in entries if END in entry.fields] == [("b", "end"), ("a", "end")]
    first, second = (entry for entry in entries if entry.lane.key == "b" and EVENT in entry.fields)
    assert first.fields[WRITER] != second.fields[WRITER]
    assert numbers([second]) == [1]


def test_what_is_given_up_is_counted() -> None:
    made = Made(lane_max_count=2)
    for _ in range(3):
        made.buffer.add("a", b"x")
    made.buffer.end()
    assert made.lost == 1
    assert made.buffer.abandon() == 2
    assert made.lost == 3
    assert len(made.buffer) == 0


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("abcd")),
        st.tuples(st.just("write"), st.lists(st.sampled_from(["written", "refused", "unknown"]), max_size=20)),
        st.tuples(st.just("settle"), st.just(None)),
    ),
    max_size=80,
)


@given(_STEPS)
def test_every_event_is_written_told_as_missing_or_counted_whatever_happens(steps: list[tuple[str, object]]) -> None:
    made = Made(max_bytes=8 * KIB, lane_max_count=4, lanes_max=3)
    written: list[Entry] = []
    added: Counter[str] = Counter()

    def write(fates: list[Fate]) -> None:
        batch = made.buffer.batch()
        wanted = [*fates, *["written"] * len(batch)][: len(batch)]
        written.extend(entry for entry, fate in zip(batch, wanted, strict=True) if fate == "written")
        made.buffer.settled(wanted)

    for step, argument in steps:
        if step == "add":
            added[str(argument)] += 1
            made.buffer.add(str(argument), b"x")
        elif step == "write":
            write(argument)  # type: ignore[arg-type]
        else:
            made.buffer.settle()
        assert made.buffer.size_bytes <= 8 * KIB + 8 * 600  # markers may stand beside a full buffer
    made.buffer.end()
    while len(made.buffer):
        write([])
        made.buffer.settle()
    shown = sum(EVENT in entry.fields for entry in written)
    assert shown + made.lost == added.total()
    assert made.buffer.size_bytes == 0
    for writer in {entry.fields[WRITER] for entry in written}:
        of_writer = numbers([entry for entry in written if entry.fields[WRITER] == writer])
        assert of_writer == sorted(set(of_writer)) or "unknown" in str(steps)
