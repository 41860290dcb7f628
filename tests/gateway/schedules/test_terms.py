"""What a schedule may be told to do: every field judged, below, at and above each limit; all that is wrong at once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.schedules import terms
from gateway.schedules.terms import Draft
from shared.errors import InvalidRequest
from shared.limits import SCHEDULE_NAME_MAX_CHARS, SCHEDULE_PAYLOAD_MAX_BYTES
from shared.manifest import Manifest, stored_manifest


def manifest(*endpoints: dict[str, Any]) -> Manifest:
    return stored_manifest(
        msgspec.json.encode(
            {
                "name": "com.acme.notes",
                "publisher": "acme",
                "version": "1.0.0",
                "runtime": "wasm-js@1",
                "api": {"endpoints": list(endpoints)},
            }
        )
    )


NOTES = manifest(
    {"method": "POST", "path": "/notes", "schedulable": True, "handler": "notes"},
    {"method": "GET", "path": "/sync", "schedulable": True},
    {"method": "POST", "path": "/sync", "schedulable": True},
    {"method": "GET", "path": "/notes"},
    {"method": "GET", "path": "/notes/:id", "schedulable": True},
    {"method": "OPTIONS", "path": "/any", "schedulable": True},
)
ALLOWED = "POST /notes, GET /sync, POST /sync"


def wanted(**fields: Any) -> Draft:
    return Draft(**{"endpoint": "POST /notes", "cron": "0 8 * * *", **fields})


def errors(draft: Draft, described: Manifest = NOTES) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as refused:
        terms.checked(described, draft)
    found: dict[str, str] = refused.value.extra["field_errors"]
    assert refused.value.detail == "; ".join(f"{field}: {message}" for field, message in found.items())
    return found


@pytest.mark.parametrize(
    ("endpoint", "method", "path"),
    [("POST /notes", "POST", "/notes"), ("/notes", "POST", "/notes"), ("GET /sync", "GET", "/sync")],
)
def test_an_endpoint_is_named_by_method_and_path_or_by_a_path_only_one_has(
    endpoint: str, method: str, path: str
) -> None:
    found = terms.checked(NOTES, wanted(endpoint=endpoint))
    assert (found.endpoint_method, found.endpoint_path) == (method, path)


@pytest.mark.parametrize(
    "endpoint", ["", "/", "GET /notes", "post /notes", "GET /notes/:id", "OPTIONS /any", "/notes/7"]
)
def test_any_other_endpoint_is_refused_and_told_which_are_allowed(endpoint: str) -> None:
    assert errors(wanted(endpoint=endpoint)) == {"endpoint": f"must be one of: {ALLOWED}"}


def test_a_path_two_endpoints_have_is_refused_and_told_both() -> None:
    assert errors(wanted(endpoint="/sync")) == {"endpoint": "must be one of: GET /sync, POST /sync"}


def test_without_a_schedulable_endpoint_the_author_is_told_what_to_declare() -> None:
    found = errors(wanted(), manifest({"method": "POST", "path": "/notes"}))
    assert found == {"endpoint": "this version declares no endpoint with `schedulable: true`"}


def test_a_refusal_names_some_of_very_many_endpoints() -> None:
    many = manifest(*({"method": "POST", "path": f"/p{n}", "schedulable": True} for n in range(30)))
    assert errors(wanted(), many)["endpoint"].endswith("POST /p19, …")


def test_the_list_of_endpoints_says_which_may_be_scheduled() -> None:
    listed = terms.endpoints(NOTES)
    assert [one.id for one in listed if one.schedulable] == ALLOWED.split(", ")
    assert (listed[0].method, listed[0].path, listed[0].handler) == ("POST", "/notes", "notes")
    assert len(listed) == 6


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"cron": "* * * * *"}, {"cron"}),
        ({"cron": "@daily"}, {"cron"}),
        ({"timezone": "CEST"}, {"timezone"}),
        ({"cron": "x", "timezone": "y", "endpoint": "z", "payload": "{", "name": ""}, {*Draft.__struct_fields__[:3]}),
    ],
)
def test_what_is_wrong_is_said_field_by_field(fields: dict[str, Any], told: set[str]) -> None:
    found = errors(wanted(**fields))
    assert told <= set(found)
    assert set(found) == set(fields)


@pytest.mark.parametrize("name", ["n", "n" * SCHEDULE_NAME_MAX_CHARS, "Jeden Morgen, 8 Uhr ☀"])
def test_a_name_has_printable_characters_up_to_the_limit(name: str) -> None:
    assert terms.checked(NOTES, wanted(name=name)).name == name


@pytest.mark.parametrize("name", ["", "n" * (SCHEDULE_NAME_MAX_CHARS + 1), "a\nb", "a\x00", "\x1b[2J", "\ud800"])
def test_any_other_name_is_refused(name: str) -> None:
    assert set(errors(wanted(name=name))) == {"name"}


@pytest.mark.parametrize(
    "payload", ['{"a": 1}', "null", "7", '"\\u0000"', '"' + "x" * (SCHEDULE_PAYLOAD_MAX_BYTES - 2) + '"']
)
def test_a_payload_is_any_json_text_up_to_the_limit_and_kept_as_it_is(payload: str) -> None:
    assert terms.checked(NOTES, wanted(payload=payload)).payload == payload


@pytest.mark.parametrize(
    "payload",
    ["", "{", "{'a': 1}", "1 2", "\ud800", '"\x00"', "[" * 5000, '"' + "x" * (SCHEDULE_PAYLOAD_MAX_BYTES - 1) + '"'],
)
def test_any_other_payload_is_refused(payload: str) -> None:
    assert set(errors(wanted(payload=payload))) == {"payload"}


def test_a_payload_for_a_method_without_a_body_is_refused() -> None:
    assert "GET has no body" in errors(wanted(endpoint="GET /sync", payload="{}"))["payload"]
    assert terms.checked(NOTES, wanted(endpoint="GET /sync")).payload is None


def test_the_kept_line_has_single_spaces() -> None:
    assert terms.checked(NOTES, wanted(cron="  0   8 * *\t* ")).cron == "0 8 * * *"


def test_a_draft_of_what_is_kept_is_accepted_unchanged() -> None:
    kept = terms.checked(NOTES, wanted(name="n", payload="{}", delivery="at_least_once", missed="skip", enabled=False))
    assert terms.checked(NOTES, terms.draft_of(kept)) == kept


text = st.text(max_size=30)


@given(st.builds(Draft, endpoint=text, cron=text, timezone=text, name=st.none() | text, payload=st.none() | text))
@settings(deadline=None, max_examples=200)
def test_any_draft_is_accepted_or_refused_by_field(draft: Draft) -> None:
    try:
        terms.checked(NOTES, draft)
    except InvalidRequest as error:
        assert set(error.extra["field_errors"]) <= set(Draft.__struct_fields__)
        assert error.extra["field_errors"]
