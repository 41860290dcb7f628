"""call: a request as it was typed, the answer as it came, and whose refusal it was."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import sys

import pytest
from aiohttp import web

from gateway.cli.following import PATH
from shared.limits import REQUEST_BODY_MAX_BYTES
from tests.gateway.cli.projects import pages_only
from tests.gateway.cli.small_gateway import guest_answer, refusing

HELLO = "/api/ext/local.notes/hello"


@pytest.fixture
def call(at, command):
    at.on("GET", HELLO, guest_answer(b"hi"))
    at.on("POST", HELLO, guest_answer(b'{"ok":true}', 201, "application/json"))
    return lambda *words: command("call", "--extension", "local.notes", *words)


def test_the_answer_is_all_that_stands_on_standard_output(call):
    ran = call("GET", "/hello")
    assert (ran.status, ran.out) == (0, "hi")
    assert "200 in " in ran.err
    assert "request req-1" in ran.err
    assert "x-ext-app-colour: blue" in ran.err


def test_the_answer_in_json_has_status_headers_and_time(call):
    told = call("post", "/hello", "--data", "{}", "--json").json()
    assert (told["status"], told["body"], told["body_base64"], told["request_id"]) == (
        201,
        '{"ok":true}',
        None,
        "req-1",
    )
    assert told["headers"]["x-ext-app-colour"] == "blue"
    assert told["duration_ms"] > 0


def test_bytes_that_are_no_text_are_base64_in_json(at, call):
    at.on("GET", HELLO, guest_answer(b"\xff\0", content_type="image/png"))
    told = call("GET", "/hello", "--json").json()
    assert (told["body"], base64.b64decode(told["body_base64"])) == (None, b"\xff\0")


def test_the_path_travels_as_it_was_typed(at, call):
    call("GET", "/hello?name=Ada%20L&x=größer&y=a b")
    assert at.asked[0].path == f"{HELLO}?name=Ada%20L&x=gr%C3%B6%C3%9Fer&y=a%20b"


def test_the_extension_is_the_manifests_here(at, command, elsewhere):
    pages_only(elsewhere)
    command("call", "GET", "/hello")
    assert at.asked[0].path == "/api/ext/local.local.notes/hello"


def test_without_a_manifest_the_extension_must_be_named(at, command):
    ran = command("call", "GET", "/hello")
    assert ran.status == 2
    assert "--extension" in ran.err


def test_a_body_is_text_a_file_or_standard_input(at, call, tmp_path, monkeypatch):
    (tmp_path / "body.bin").write_bytes(b"\0\1")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from a pipe")))
    call("POST", "/hello", "--data", '{"a": 1}')
    call("POST", "/hello", "--data", f"@{tmp_path}/body.bin")
    call("POST", "/hello", "--data", "@-")
    assert [one.body for one in at.asked] == [b'{"a": 1}', b"\0\1", b"from a pipe"]
    assert [one.headers["content-type"] for one in at.asked] == [
        "application/json",
        "application/octet-stream",
        "application/octet-stream",
    ]


@pytest.mark.parametrize(("extra", "status"), [(-1, 0), (0, 0), (1, 2)])
def test_a_body_over_the_limit_is_not_sent(at, call, tmp_path, extra, status):
    (tmp_path / "body").write_bytes(bytes(REQUEST_BODY_MAX_BYTES + extra))
    assert call("POST", "/hello", "--data", f"@{tmp_path}/body").status == status


def test_headers_go_along_and_replace_the_default_type(at, call):
    call(
        "POST", "/hello", "--data", "a=b", "-H", "Content-Type: application/x-www-form-urlencoded", "--header", "x-a:1"
    )
    assert at.asked[0].headers["content-type"] == "application/x-www-form-urlencoded"
    assert at.asked[0].headers["x-a"] == "1"


@pytest.mark.parametrize("header", ["nothing", ": x", "a b: c", "x: a\nb", "Authorization: Bearer other"])
def test_what_is_no_header_is_a_usage_error(at, call, header):
    assert call("GET", "/hello", "-H", header).status == 2
    assert at.asked == []


@pytest.mark.parametrize(
    "words", [("FETCH", "/hello"), ("GET", "hello"), ("GET",), ("GET", "/a", "/b"), ("GET", "/a", "-x")]
)
def test_what_is_no_call_is_a_usage_error(at, call, words):
    assert call(*words).status == 2
    assert at.asked == []


async def said(request):
    """A stream that knows the call `req-1`."""
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for number, (message, kind) in enumerate((("greeting", None), ("ok 200", "execution.end")), 1):
        line = {"ts": 1, "seq": number, "message": message, "requestId": "req-1", "data": kind and {"kind": kind}}
        await response.write(f"id: {number}-0\nevent: log\ndata: {json.dumps(line)}\n\n".encode())
    await asyncio.sleep(30)
    return response


def test_what_was_said_about_the_call_is_shown_when_asked_for(at, call):
    at.stream(PATH, said)
    ran = call("GET", "/hello", "--logs")
    assert (ran.status, ran.out) == (0, "hi")
    assert ran.err.index("greeting") < ran.err.index("ok 200") < ran.err.index("200 in")
    assert at.calls("GET", PATH)[0].path == f"{PATH}?extensionId=local.notes&requestId=req-1"
    told = call("GET", "/hello", "--logs", "--json").json()
    assert [line["message"] for line in told["logs"]] == ["greeting", "ok 200"]


def test_who_may_not_watch_still_gets_the_answer(at, call):
    at.on("GET", PATH, refusing(403, "forbidden", "extension:debug is needed"))
    ran = call("GET", "/hello", "--logs")
    assert (ran.status, ran.out) == (0, "hi")
    assert "extension:debug is needed" in ran.err


def test_an_error_of_the_extension_is_its_answer_and_a_failure(at, call):
    at.on("GET", HELLO, guest_answer(b'{"error":"no"}', 404, "application/json"))
    ran = call("GET", "/hello")
    assert (ran.status, ran.out) == (1, '{"error":"no"}')
    assert "alga-ext logs --request req-1" in ran.err


@pytest.mark.parametrize(
    ("status", "code", "ends"),
    [(404, "not_installed", 1), (504, "guest_timeout", 1), (403, "forbidden", 3), (429, "rate_limited", 3)],
)
def test_a_refusal_of_the_platform_is_told_from_it(at, call, status, code, ends):
    at.on("GET", HELLO, refusing(status, code, "the platform's words", request_id="r"))
    ran = call("GET", "/hello")
    assert (ran.status, ran.out) == (ends, "")
    assert "the platform's words" in ran.err
    told = json.loads(call("GET", "/hello", "--json").out)
    assert (told["code"], told["status"], told["request_id"]) == (code, status, "r")
