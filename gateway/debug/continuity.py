"""Whether a viewer has seen everything, told from the entries alone; what is missing becomes a gap.

Each writer numbers its entries in a stream, so a number that comes again is the same entry written twice and one that
is missing is a loss. An execution's first event names its deadline; when its last one has not come some time after,
the runner that ran it is gone. A worker that begins anew without having ended its stream has died, and whatever it
had not written yet with it. Pure: time is an argument.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import msgspec

from gateway.debug.entries import Entry
from gateway.debug.sse import Gap
from shared.debug_event import ExtDebugEvent
from shared.limits import DEBUG_LOST_GRACE_S, DEBUG_TRACKED_MAX, TIMEOUT_MAX_MS

_TIMEOUT_MAX_S: Final = TIMEOUT_MAX_MS / 1000


class Verdict(msgspec.Struct, frozen=True):
    """What to do about an entry.

    Attributes:
        again: it was seen before; not to be shown.
        gaps: what is missing before it, or what it says is missing.
    """

    again: bool = False
    gaps: tuple[Gap, ...] = ()


_FINE: Final = Verdict()
_AGAIN: Final = Verdict(again=True)


class _Writer:
    __slots__ = ("ended", "number", "worker")

    def __init__(self, worker: str, number: int) -> None:
        self.worker = worker
        self.number = number
        self.ended = False


class _Execution:
    __slots__ = ("due_s", "request_id", "seq", "writer")

    def __init__(self, event: ExtDebugEvent, writer: str, due_s: float) -> None:
        self.request_id = event.request_id
        self.seq = event.seq
        self.writer = writer
        self.due_s = due_s


class Continuity:
    """What one viewer has seen of one stream."""

    def __init__(self) -> None:
        self._writers: OrderedDict[str, _Writer] = OrderedDict()
        self._current: dict[str, str] = {}
        self._shared: set[str] = set()
        self._open: OrderedDict[str, _Execution] = OrderedDict()

    def take(self, entry: Entry, now_s: float, age_s: float = 0.0) -> Verdict:
        """The next entry of the stream.

        Args:
            entry: in the stream's order.
            now_s: on any clock that only goes forward.
            age_s: how long ago it was written.
        """
        if not entry.readable:
            return Verdict(gaps=(Gap(reason="unreadable", count=1),))
        known = self._writers.get(entry.writer)
        if known is None:
            gaps = self._arrive(entry)
        elif entry.number <= known.number:
            return _AGAIN  # decided before anything else: a late repetition says nothing about its writer
        else:
            gaps = self._advance(known, entry)
        if entry.ends:
            self._writers[entry.writer].ended = True
            self._forget(entry.writer)
        elif entry.event is not None:
            self._follow(entry, entry.event, now_s, age_s)
        return Verdict(gaps=tuple(gaps)) if gaps else _FINE

    def overdue(self, now_s: float) -> list[Gap]:
        """Executions whose end should have come by now; each is told once."""
        late = [(name, found) for name, found in self._open.items() if found.due_s <= now_s]
        for name, _ in late:
            del self._open[name]
        return [
            Gap(reason="unfinished", request_id=found.request_id, execution_id=name, after_seq=found.seq)
            for name, found in late
        ]

    def postpone(self, until_s: float) -> None:
        """The stream could not be read for a while, and perhaps not be written: give every execution until then."""
        for found in self._open.values():
            found.due_s = max(found.due_s, until_s)

    def restart(self) -> None:
        """What was missed is known and was told: begin anew with the next entry."""
        self._writers.clear()
        self._current.clear()
        self._shared.clear()
        self._open.clear()

    def _arrive(self, entry: Entry) -> list[Gap]:
        """A writer that was not seen before: its first number says nothing, its worker's last writer does."""
        name = self._current.get(entry.worker)
        earlier = self._writers.get(name) if name is not None else None
        gaps: list[Gap] = []
        if earlier is not None and not earlier.ended and entry.worker not in self._shared:
            gaps.append(Gap(reason="runner_restarted"))
            self._forget(name or "")
        self._writers[entry.writer] = _Writer(entry.worker, entry.number)
        self._current[entry.worker] = entry.writer
        while len(self._writers) > DEBUG_TRACKED_MAX:
            name, oldest = self._writers.popitem(last=False)
            if self._current.get(oldest.worker) == name:
                del self._current[oldest.worker]
                self._shared.discard(oldest.worker)
        return gaps + self._said(entry)

    def _advance(self, known: _Writer, entry: Entry) -> list[Gap]:
        if self._current.get(known.worker) != entry.writer:
            self._shared.add(known.worker)  # two runners go by one name: neither has died because the other writes
        missing = entry.number - known.number - 1
        known.number = entry.number
        self._writers.move_to_end(entry.writer)
        if missing:
            self._forget(entry.writer)
        if missing and (entry.gap is None or entry.gap.reason == "overflow"):
            return [Gap(reason="lost", count=missing), *self._said(entry)]
        return self._said(entry)  # what Redis refused has taken its numbers along, and is counted in the entry

    def _said(self, entry: Entry) -> list[Gap]:
        if entry.gap is None:
            return []
        self._forget(entry.writer)
        return [Gap(reason="dropped", count=entry.gap.count)]

    def _forget(self, writer: str) -> None:
        """Ends of this writer's executions may be among what is missing, which was told; do not tell it again."""
        for name in [name for name, found in self._open.items() if found.writer == writer]:
            del self._open[name]

    def _follow(self, entry: Entry, event: ExtDebugEvent, now_s: float, age_s: float) -> None:
        name = event.execution_id
        if not name:
            return
        if entry.mark == "end":
            self._open.pop(name, None)
            return
        found = self._open.get(name)
        if found is not None:
            found.seq = event.seq
            return
        left_s = max(0.0, _timeout_s(event) - age_s)
        self._open[name] = _Execution(event, entry.writer, now_s + left_s + DEBUG_LOST_GRACE_S)
        while len(self._open) > DEBUG_TRACKED_MAX:
            self._open.popitem(last=False)


def _timeout_s(event: ExtDebugEvent) -> float:
    text = (event.data or {}).get("timeout_ms", "")
    return min(int(text) / 1000, _TIMEOUT_MAX_S) if text.isdigit() and len(text) < 9 else _TIMEOUT_MAX_S
