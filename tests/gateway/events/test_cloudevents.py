"""Events as CloudEvents: the bytes a handler gets, and what the host application may say."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.events import cloudevents, identity
from gateway.events.cloudevents import Content, Submitted
from gateway.store.events import Event
from shared.errors import InvalidRequest, PayloadTooLarge, TenantMismatch
from shared.limits import (
    EVENT_ORIGIN_ID_MAX_CHARS,
    EVENT_PAYLOAD_MAX_BYTES,
    EVENT_SOURCE_MAX_CHARS,
    EVENT_SUBJECT_MAX_CHARS,
)
from shared.manifest_parts import EventInterest


def event(**more: Any) -> Event:
    return Event(
        **{
            "id": "7b0d8a50-9d4f-4b7e-8b1c-0d7f0c6f3f10",
            "source": "/extensions/acme.com.acme.notes",
            "topic": "com.acme.notes.created",
            "subject": None,
            "occurred_at": datetime(2026, 1, 2, 4, 4, 5, 678_900, tzinfo=timezone(timedelta(hours=1))),
            "media_type": "application/json",
            "payload": b'{"total": 1.50, "big": 1e400}',
            "origin_id": None,
            "hops": 2,
            **more,
        }
    )


HEAD = (
    b'{"specversion":"1.0","id":"7b0d8a50-9d4f-4b7e-8b1c-0d7f0c6f3f10","source":"/extensions/acme.com.acme.notes",'
    b'"type":"com.acme.notes.created",'
)
TIME = b'"time":"2026-01-02T03:04:05.678900Z","tenant":"acme"'


@pytest.mark.parametrize(
    ("more", "golden"),
    [
        ({}, HEAD + TIME + b',"datacontenttype":"application/json","data":{"total": 1.50, "big": 1e400}}'),
        (
            {"subject": "note/\u00e9", "origin_id": "o-1"},
            HEAD
            + '"subject":"note/\u00e9",'.encode()
            + TIME
            + b',"originid":"o-1","datacontenttype":"application/json","data":{"total": 1.50, "big": 1e400}}',
        ),
        (
            {"media_type": "application/octet-stream", "payload": b"\x00\xff"},
            HEAD + TIME + b',"datacontenttype":"application/octet-stream","data_base64":"AP8="}',
        ),
        (
            {"media_type": "application/vnd.acme+json; charset=utf-8", "payload": b"null"},
            HEAD + TIME + b',"datacontenttype":"application/vnd.acme+json; charset=utf-8","data":null}',
        ),
        ({"media_type": None, "payload": b""}, HEAD + TIME + b"}"),
    ],
)
def test_the_bytes_of_a_delivery(more: dict[str, Any], golden: bytes) -> None:
    assert cloudevents.encode("acme", event(**more)) == golden


@given(st.binary(max_size=300) | st.text(max_size=50).map(lambda text: msgspec.json.encode(text)))
def test_every_payload_comes_out_as_it_went_in(payload: bytes) -> None:
    body = cloudevents.encode("acme", event(media_type=cloudevents.media_type_of(payload), payload=payload))
    found = msgspec.json.decode(body, type=cloudevents.CloudEvent)
    if isinstance(found.data, msgspec.Raw):
        assert bytes(found.data) == payload
    elif isinstance(found.data_base64, str):
        assert base64.b64decode(found.data_base64) == payload
    else:
        assert payload == b""


@pytest.mark.parametrize(
    ("payload", "media_type"),
    [
        (b"", None),
        (b"1", "application/json"),
        (b' {"a":1} ', "application/json"),
        (b'"\xc3\xa9"', "application/json"),
        (b"{", "application/octet-stream"),
        (b'"\xff"', "application/octet-stream"),
        (b"[" * 5000 + b"]" * 5000, "application/octet-stream"),
    ],
)
def test_a_guests_payload_is_json_if_it_can_be_read_as_it(payload: bytes, media_type: str | None) -> None:
    assert cloudevents.media_type_of(payload) == media_type


# ---- the host application -----------------------------------------------------------------------------------


def read(text: str) -> Content:
    return cloudevents.read(msgspec.json.decode(text, type=Submitted), "acme")


@pytest.mark.parametrize(
    ("said", "media_type", "payload"),
    [
        ("", None, b""),
        (', "data": {"a": 1.50}', "application/json", b'{"a": 1.50}'),
        (', "data": null', "application/json", b"null"),
        (', "data": 1, "datacontenttype": "application/vnd.x+json"', "application/vnd.x+json", b"1"),
        (', "data_base64": "AP8="', "application/octet-stream", b"\x00\xff"),
        (', "data_base64": "MQ=="', "application/json", b"1"),
        (
            ', "data_base64": "PGEvPg==", "datacontenttype": "text/xml; charset=utf-8"',
            "text/xml; charset=utf-8",
            b"<a/>",
        ),
    ],
)
def test_what_the_host_application_may_say(said: str, media_type: str | None, payload: bytes) -> None:
    found = read('{"specversion": "1.0", "type": "a.b", "tenant": "acme"' + said + "}")
    assert (found.media_type, found.payload) == (media_type, payload)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('"data": 1, "data_base64": "MQ=="', "one of them"),
        ('"data": "x", "datacontenttype": "text/plain"', "belongs into data_base64"),
        ('"data_base64": "?"', "not base64"),
        ('"data_base64": "ew==", "datacontenttype": "application/json"', "which datacontenttype says it is"),
        ('"datacontenttype": "json"', "media type"),
        ('"datacontenttype": "a/b\\nc: d"', "media type"),
        ('"source": "/extensions/acme.x.y"', "source must be /host"),
        ('"source": "/hostile"', "source must be /host"),
        ('"source": "/host/../extensions/a"', "source must be /host"),
        ('"source": "/host//a"', "source must be /host"),
        ('"source": "//a/b"', "source must be /host"),
        ('"source": "/host/%2e"', "source must be /host"),
        ('"source": ""', "source must be /host"),
        ('"id": ""', "visible ASCII"),
        ('"id": "a b"', "visible ASCII"),
        ('"subject": ""', "printable"),
        ('"subject": "a\\u0000"', "printable"),
        ('"time": "2026-01-01T00:00:00"', "offset from UTC"),
        ('"time": "0001-01-01T00:00:00+14:00"', "years 1970 to 2999"),
        ('"time": "9999-12-31T23:59:59-14:00"', "years 1970 to 2999"),
    ],
)
def test_what_it_may_not_say_and_what_it_is_told(said: str, told: str) -> None:
    with pytest.raises(InvalidRequest, match=told):
        read('{"type": "a.b", ' + said + "}")


@pytest.mark.parametrize(
    "source", ["/host", "/host/billing/eu-1", "urn:example:billing", "https://app.example/billing"]
)
def test_a_source_is_a_part_of_the_host_application_or_an_absolute_uri(source: str) -> None:
    read(msgspec.json.encode({"type": "a", "source": source}).decode())


def test_it_cannot_speak_for_another_tenant() -> None:
    with pytest.raises(TenantMismatch):
        read('{"type": "a.b", "tenant": "globex"}')


@pytest.mark.parametrize(
    ("member", "most", "make"),
    [
        ("id", EVENT_ORIGIN_ID_MAX_CHARS, lambda count: "x" * count),
        ("subject", EVENT_SUBJECT_MAX_CHARS, lambda count: "\u00e9" * count),
        ("source", EVENT_SOURCE_MAX_CHARS, lambda count: "/host/" + "x" * (count - 6)),
    ],
)
def test_texts_have_so_many_characters_and_not_one_more(member: str, most: int, make: Any) -> None:
    for count in (most - 1, most):
        read(msgspec.json.encode({"type": "a", member: make(count)}).decode())
    with pytest.raises(InvalidRequest, match=str(most)):
        read(msgspec.json.encode({"type": "a", member: make(most + 1)}).decode())


def test_a_payload_has_so_many_bytes_and_not_one_more() -> None:
    for count in (EVENT_PAYLOAD_MAX_BYTES - 1, EVENT_PAYLOAD_MAX_BYTES):
        read('{"type": "a", "data": "' + "x" * (count - 2) + '"}')
    with pytest.raises(PayloadTooLarge):
        read('{"type": "a", "data": "' + "x" * (EVENT_PAYLOAD_MAX_BYTES - 1) + '"}')


@given(st.text(max_size=30))
def test_a_topic_is_what_a_manifest_may_subscribe_to(topic: str) -> None:
    try:
        msgspec.convert({"topic": topic}, EventInterest)
        known = not topic.endswith("\n")  # `$` of the schema's dialect knows no such exception
    except msgspec.ValidationError:
        known = False
    try:
        read(msgspec.json.encode({"type": topic}).decode())
        accepted = True
    except InvalidRequest:
        accepted = False
    assert accepted == known


# ---- ids ----------------------------------------------------------------------------------------------------


def test_the_id_of_an_event_with_an_id_of_its_own_is_always_the_same() -> None:
    assert identity.event_id("acme", "/host", "e-1") == "f00177b2-69b8-8083-8a84-f3e7d443b574"


def test_tenant_source_and_id_each_make_another_event_and_cannot_run_into_each_other() -> None:
    told = [("acme", "/host", "e-1"), ("acm", "e/host", "e-1"), ("acme", "/hoste", "-1"), ("globex", "/host", "e-1")]
    assert len({identity.event_id(*one) for one in told}) == 4


def test_without_an_id_of_its_own_every_event_is_a_new_one() -> None:
    assert identity.event_id("acme", "/host", None) != identity.event_id("acme", "/host", None)


def test_the_digest_of_what_an_event_says() -> None:
    content = Content(topic="a.b", subject=None, media_type=None, payload=b"")
    assert identity.content_sha256(content).hex() == "c134cda51464675d4af082aa69eb9660be5b8cce84101027e281b8313e1e4fb5"
    others = [
        msgspec.structs.replace(content, topic="a.c"),
        msgspec.structs.replace(content, subject="s"),
        msgspec.structs.replace(content, media_type="s"),
        msgspec.structs.replace(content, payload=b"s"),
    ]
    assert len({identity.content_sha256(one) for one in (content, *others)}) == 5
