"""The debug stream's own bytes: other people's clients read them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gateway.cli.sse import EventParser, ServerEvent
from gateway.debug import sse
from shared.debug_event import ExtDebugEvent
from tests.debug_events import EVENT, event

GOLDEN = Path(__file__).parents[2] / "contract" / "golden" / "debug"


def test_an_event_has_these_bytes() -> None:
    assert sse.log("1700000000123-0", EVENT) == (GOLDEN / "sse_log.txt").read_bytes()


def test_every_field_of_an_event_is_there_in_camel_case() -> None:
    (found,) = EventParser().feed(sse.log("1-0", EVENT))
    data = msgspec.json.decode(found.data)
    assert set(data) == {msgspec_name(name) for name in ExtDebugEvent.__struct_fields__}
    assert data["tenantId"] == "acme"
    assert data["contentHash"].startswith("sha256:")
    assert data["data"] == EVENT.data


def msgspec_name(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def test_what_a_guest_says_cannot_end_its_event_or_begin_another() -> None:
    hostile = 'x\n\nid: 9-9\nevent: status\ndata: {"state":"live"}\n\r\r\x85\u2028'
    (found,) = EventParser().feed(sse.log("1-0", event(hostile)))
    assert (found.event, found.id) == ("log", "1-0")
    assert msgspec.json.decode(found.data)["message"] == hostile


@pytest.mark.parametrize(
    ("gap", "entry_id", "pinned"),
    [
        (sse.Gap(reason="trimmed"), "", b'event: gap\ndata: {"reason":"trimmed"}\n\n'),
        (sse.Gap(reason="dropped", count=7), "5-1", b'id: 5-1\nevent: gap\ndata: {"reason":"dropped","count":7}\n\n'),
        (
            sse.Gap(reason="unfinished", request_id="r", execution_id="e", after_seq=3),
            "",
            b'event: gap\ndata: {"reason":"unfinished","requestId":"r","executionId":"e","afterSeq":3}\n\n',
        ),
    ],
)
def test_a_gap_has_these_bytes(gap: sse.Gap, entry_id: str, pinned: bytes) -> None:
    assert sse.gap(gap, entry_id) == pinned


def test_a_status_an_opening_and_a_heartbeat_have_these_bytes() -> None:
    assert sse.status("degraded") == b'event: status\ndata: {"state":"degraded"}\n\n'
    assert sse.OPENING == b"retry: 2000\n\n"
    assert sse.heartbeat("") == b":\n\n"
    assert sse.heartbeat("5-0") == b":\nid: 5-0\n\n"


def test_a_heartbeat_is_no_event_but_moves_the_position() -> None:
    parser = EventParser()
    assert list(parser.feed(sse.heartbeat("5-0"))) == []
    assert list(parser.feed(sse.status("live"))) == [ServerEvent("status", '{"state":"live"}', "5-0")]
