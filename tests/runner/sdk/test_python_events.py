"""Delivered events in Python: read as the platform sends them, refused from anybody else, and what the gateway writes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from alga_extension import Event as Delivered
from alga_extension import HostError, HttpError, Request, mock_event, mock_host, read_event

from gateway.events import cloudevents
from gateway.store.events import Event
from shared.limits import EVENT_PAYLOAD_MAX_BYTES, EVENT_TOPIC_MAX_CHARS

HEADERS = [("content-type", "application/cloudevents+json"), ("X-Alga-Trigger", "event")]


def written(payload: bytes | None, media_type: str | None) -> bytes:
    return cloudevents.encode(
        "acme",
        Event(
            id="7b0d8a50-9d4f-4b7e-8b1c-0d7f0c6f3f10",
            source="/extensions/acme.com.acme.notes",
            topic="com.acme.notes.created",
            subject="note/1",
            occurred_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            media_type=media_type,
            payload=payload,
            origin_id="o-1",
            hops=1,
        ),
    )


def test_what_the_gateway_writes_is_what_a_handler_reads() -> None:
    body = written(b'{"n": 1.50}', "application/json")
    assert read_event(Request("POST", "/events", headers=HEADERS, body=body)) == Delivered(
        id="7b0d8a50-9d4f-4b7e-8b1c-0d7f0c6f3f10",
        source="/extensions/acme.com.acme.notes",
        type="com.acme.notes.created",
        time="2026-01-02T03:04:05Z",
        tenant="acme",
        subject="note/1",
        origin_id="o-1",
        content_type="application/json",
        data={"n": 1.5},
    )


@pytest.mark.parametrize("payload", [b"\x00", b"\xff" * 100, bytes(range(256))])
def test_bytes_come_back_as_they_were(payload: bytes) -> None:
    body = written(payload, "application/octet-stream")
    assert read_event(Request("POST", "/events", headers=HEADERS, body=body)).payload == payload
    assert read_event(mock_event("a.b", payload=payload)).payload == payload


def test_an_event_that_says_nothing_has_neither_data_nor_payload() -> None:
    event = read_event(Request("POST", "/events", headers=HEADERS, body=written(b"", None)))
    assert (event.data, event.payload, event.content_type) == (None, None, None)


def test_an_event_for_tests_is_one_of_the_platform() -> None:
    event = read_event(mock_event("a.b", {"n": 1}, source="/extensions/x.y.z", originid="o"))
    assert (event.type, event.data, event.source, event.origin_id) == ("a.b", {"n": 1}, "/extensions/x.y.z", "o")
    assert mock_event("a").header("x-idempotency-key") == event.id


@pytest.mark.parametrize("headers", [[], [("x-alga-trigger", "schedule")], [("x-alga-trigger", "EVENT")]])
def test_a_call_that_the_platform_did_not_make_is_refused(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(HttpError) as refused:
        read_event(Request("POST", "/events", headers=headers, body=written(b"1", "application/json")))
    assert refused.value.status == 403


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{", b'{"specversion":"0.3"}', b'{"specversion":"1.0","id":"x"}']
)
def test_what_is_no_event_is_a_400(body: bytes) -> None:
    with pytest.raises(HttpError) as refused:
        read_event(Request("POST", "/events", headers=HEADERS, body=body))
    assert refused.value.status == 400


def test_the_mock_takes_what_the_platform_would_and_refuses_with_words() -> None:
    host = mock_host()
    host.events.publish("a.b", b"x" * EVENT_PAYLOAD_MAX_BYTES)
    host.events.publish("a" * EVENT_TOPIC_MAX_CHARS, "")
    wrong: list[tuple[str, bytes]] = [("", b""), ("a..b", b""), ("a\n", b""), ("a" * (EVENT_TOPIC_MAX_CHARS + 1), b"")]
    for topic, payload in [*wrong, ("a", b"x" * (EVENT_PAYLOAD_MAX_BYTES + 1))]:
        with pytest.raises(HostError, match=r"characters|bytes") as refused:
            host.events.publish(topic, payload)
        assert refused.value.code == "refused"
    assert len(host.recorded.events) == 2
