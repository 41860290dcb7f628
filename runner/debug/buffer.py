"""What waits to be written to Redis: bounded, in order, every entry numbered, every loss counted.

    emit ──▶ lane of its stream ──▶ one queue for all streams ──▶ batches

A lane is one stream as this worker writes it. It numbers the entries, so that a reader sees what is missing, and
remembers what had to be dropped until a gap entry can say so. Pure: no clock, no network, no task.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Final, Literal

from shared.debug_stream import END, EVENT, GAP, NUMBER, WRITER, StreamGap, Writer, encode_gap
from shared.limits import DEBUG_BATCH_MAX_BYTES, DEBUG_BATCH_MAX_COUNT, DEBUG_LANES_MAX

_ENTRY_BYTES: Final = 512  # of Python objects around one entry
_LANE_SHARE: Final = 4  # one stream may fill a quarter of the buffer: a flood is not everybody's flood

Fields = dict[bytes, bytes]
Fate = Literal["written", "refused", "unknown"]
"""What became of an entry. `unknown` means that it is written again."""


class Lane:
    """One stream of one writer."""

    __slots__ = ("dropped", "key", "number", "queued", "queued_bytes", "reason", "writer")

    def __init__(self, key: str, writer: bytes) -> None:
        self.key = key
        self.writer = writer
        self.number = 0
        self.queued = 0
        self.queued_bytes = 0
        self.dropped = 0
        self.reason: Literal["overflow", "refused"] = "overflow"


class Entry:
    """One entry on its way. `events`: how many events are lost if it is."""

    __slots__ = ("events", "fields", "lane", "size_bytes")

    def __init__(self, lane: Lane, fields: Fields, size_bytes: int, events: int) -> None:
        self.lane = lane
        self.fields = fields
        self.size_bytes = size_bytes
        self.events = events


class Buffer:
    """The queue of one worker.

    Args:
        instance, worker: who writes, see `shared.debug_stream`.
        generation: of this process; never the same again.
        max_bytes: of all that waits, overhead included.
        lane_max_count: entries of one stream that may wait; Redis keeps no more of it anyway.
        dropped: is told how many events were lost.
        lanes_max: streams that are kept count of.
    """

    def __init__(
        self,
        instance: str,
        worker: int,
        generation: str,
        *,
        max_bytes: int,
        lane_max_count: int,
        dropped: Callable[[int], None],
        lanes_max: int = DEBUG_LANES_MAX,
    ) -> None:
        self._instance, self._worker, self._generation = instance, worker, generation
        self._max_bytes = max_bytes
        self._lane_max_count = lane_max_count
        self._dropped = dropped
        self._lanes_max = lanes_max
        self._lanes: OrderedDict[str, Lane] = OrderedDict()
        self._made = itertools.count()
        self._queue: deque[Entry] = deque()
        self._bytes = 0
        self._owing: dict[Lane, None] = {}

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def size_bytes(self) -> int:
        """Of all that waits."""
        return self._bytes

    def add(self, key: str, payload: bytes) -> None:
        """Take one event of a stream, or count it as dropped."""
        lane = self._lanes.get(key)
        size = len(payload) + _ENTRY_BYTES
        if lane is None:
            if self._bytes + size > self._max_bytes:
                self._dropped(1)  # a stream nothing was written to yet: its readers have nothing to miss
                return
            lane = self._open(key)
        else:
            self._lanes.move_to_end(key)
        if self._is_full(lane, size):
            self._lose(lane, 1, "overflow")
            return
        self._report(lane)
        self._append(lane, EVENT, payload, 1)

    def settle(self) -> None:
        """Say in each stream what was dropped, where nothing waits before it any more."""
        for lane in [lane for lane in self._owing if not lane.queued]:
            self._report(lane)

    def end(self) -> None:
        """Say in each stream that nothing comes any more."""
        for lane in self._lanes.values():
            self._report(lane)
            self._append(lane, END, b"", 0)
        self._lanes.clear()

    def batch(self) -> list[Entry]:
        """The next entries to write; they stay in the queue until `settled`."""
        found: list[Entry] = []
        size = 0
        for entry in itertools.islice(self._queue, DEBUG_BATCH_MAX_COUNT):
            size += entry.size_bytes
            if found and size > DEBUG_BATCH_MAX_BYTES:
                break
            found.append(entry)
        return found

    def settled(self, fates: Iterable[Fate]) -> None:
        """What became of the entries of the last batch, in order."""
        kept: list[Entry] = []
        for fate in fates:
            entry = self._queue.popleft()
            if fate == "unknown":
                kept.append(entry)
                continue
            self._leave(entry)
            if fate == "refused" and entry.events:
                self._lose(entry.lane, entry.events, "refused", told=entry.fields.get(GAP) is not None)
        self._queue.extendleft(reversed(kept))

    def abandon(self) -> int:
        """Give up what waits; how many events that were."""
        lost = sum(entry.events for entry in self._queue if GAP not in entry.fields)
        self._queue.clear()
        self._bytes = 0
        self._owing.clear()
        if lost:
            self._dropped(lost)
        return lost

    def _open(self, key: str) -> Lane:
        if len(self._lanes) >= self._lanes_max:
            _, oldest = self._lanes.popitem(last=False)
            self._report(oldest)
            self._append(oldest, END, b"", 0)
        writer = Writer(self._instance, self._worker, f"{self._generation}.{next(self._made)}")
        lane = self._lanes[key] = Lane(key, writer.text().encode())
        return lane

    def _is_full(self, lane: Lane, size: int) -> bool:
        return (
            self._bytes + size > self._max_bytes
            or lane.queued >= self._lane_max_count
            or lane.queued_bytes + size > self._max_bytes // _LANE_SHARE
        )

    def _lose(self, lane: Lane, count: int, reason: Literal["overflow", "refused"], *, told: bool = False) -> None:
        lane.dropped += count
        lane.reason = reason
        if not told:
            self._dropped(count)
        if not told:
            self._owing[lane] = None  # a gap that was refused waits for the next event: not again and again

    def _report(self, lane: Lane) -> None:
        self._owing.pop(lane, None)
        if lane.dropped:
            gap = StreamGap(count=lane.dropped, reason=lane.reason)
            self._append(lane, GAP, encode_gap(gap), lane.dropped)
            lane.dropped = 0

    def _append(self, lane: Lane, name: bytes, payload: bytes, events: int) -> None:
        lane.number += 1
        size = len(payload) + _ENTRY_BYTES
        fields = {WRITER: lane.writer, NUMBER: b"%d" % lane.number, name: payload}
        lane.queued += 1
        lane.queued_bytes += size
        self._bytes += size
        self._queue.append(Entry(lane, fields, size, events))

    def _leave(self, entry: Entry) -> None:
        entry.lane.queued -= 1
        entry.lane.queued_bytes -= entry.size_bytes
        self._bytes -= entry.size_bytes
