"""logs: what was said lately, or as it is said; nothing an extension writes can steer the terminal."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web

from gateway.cli import following
from gateway.cli.following import PATH
from tests.gateway.cli.projects import pages_only
from tests.gateway.cli.small_gateway import as_json, refusing

INSTALL = {
    "install_id": "i-1",
    "extension_id": "e-1",
    "publisher": "local",
    "name": "local.notes",
    "version": "1.0.0",
    "content_hash": "x",
    "status": "enabled",
}


def event(number, kind="log", **data):
    said = {"ts": 1_700_000_000_000 + number, "level": "info", "stream": "log", "requestId": "0123456789", **data}
    return f"id: {number}-0\nevent: {kind}\ndata: {json.dumps(said)}\n\n"


@pytest.fixture
def logs(command):
    """The verb, for one extension."""
    return lambda *words: command("logs", "--extension", "local.notes", *words)


@pytest.fixture
def stream(at, monkeypatch):
    """A stream that replays these events and then stays open in silence."""
    monkeypatch.setattr(following, "CLI_LOGS_QUIET_S", 0.3)
    at.on("GET", "/api/installs", as_json({"items": [INSTALL], "next_cursor": None}))

    def replaying(*events, then=None):
        async def serve(request):
            if then is not None and "last-event-id" in request.headers:
                return then()
            response = web.StreamResponse(headers={"content-type": "text/event-stream"})
            await response.prepare(request)
            for one in events:
                await response.write(one.encode())
            if then is None:
                await asyncio.sleep(30)
            return response

        at.stream(PATH, serve)

    return replaying


def test_what_was_said_lately_is_shown_and_then_it_ends(stream, logs):
    stream(
        event(1, message="hello"),
        event(2, message="careful", level="warn", stream="stderr"),
        event(3, message="cut", truncated=True, data={"code": "x"}),
    )
    ran = logs()
    assert ran.status == 0
    assert ran.out.splitlines() == [
        "22:13:20.001 info  01234567 hello",
        "22:13:20.002 warn  01234567 [stderr] careful",
        "22:13:20.003 info  01234567 cut … code=x",
    ]


def test_a_line_cannot_steer_the_terminal(stream, logs):
    stream(event(1, message="\x1b[2Jgone\x07\u202e", data={"a": "\x1b"}))
    out = logs().out
    assert "\\x1b[2Jgone\\x07\\u202e a=\\x1b" in out
    assert "\x1b" not in out


def test_gaps_and_states_of_the_stream_are_remarks(stream, logs):
    stream(
        'event: gap\ndata: {"reason":"dropped","count":3}\n\n',
        'event: status\ndata: {"state":"degraded"}\n\n',
        'event: status\ndata: {"state":"live"}\n\n',
        "id: 3\nevent: new-kind\ndata: {}\n\n",
    )
    ran = logs()
    assert ran.out == ""
    assert "reason: dropped, count: 3" in ran.err
    assert "degraded" in ran.err
    assert "live" not in ran.err


def test_a_call_that_has_ended_is_not_waited_for(stream, logs, monkeypatch):
    monkeypatch.setattr(following, "CLI_LOGS_QUIET_S", 60)
    stream(event(1, message="hello"), event(2, stream="system", message="answered", data={"kind": "execution.end"}))
    ran = logs("--request", "r-1")
    assert "hello" in ran.out


def test_each_event_is_a_line_of_json(stream, logs):
    stream(event(1, message="hello"), event(2, "gap", missed=3))
    lines = [json.loads(line) for line in logs("--json").out.splitlines()]
    assert [(line["event"], line["id"]) for line in lines] == [("log", "1-0"), ("gap", "2-0")]
    assert lines[0]["data"]["message"] == "hello"


def test_an_event_nobody_can_read_is_passed_over(stream, logs):
    stream("id: 1\nevent: log\ndata: {broken\n\n", event(2, message="hello", ofALaterRelease=[1]))
    ran = logs()
    assert "hello" in ran.out
    assert "could not be read" in ran.err


def test_without_a_word_it_says_so(stream, logs):
    stream(": heartbeat\n\n")
    assert "nothing was said" in logs().err


def test_a_call_and_a_level_can_be_asked_for(stream, at, logs):
    stream()
    logs("--request", "r-1", "--level", "warn")
    assert at.calls("GET", PATH)[0].path == f"{PATH}?installId=i-1&requestId=r-1&level=warn"


def test_in_a_project_its_extension_speaks(stream, at, command, elsewhere):
    stream()
    pages_only(elsewhere)
    command("logs")
    assert "installId=i-1" in at.calls("GET", PATH)[0].path


def test_elsewhere_the_extension_must_be_named(at, command):
    ran = command("logs")
    assert ran.status == 2
    assert "--extension" in ran.err


def test_a_level_that_does_not_exist_is_a_usage_error(at, logs):
    assert logs("--level", "loud").status == 2


def test_an_extension_that_is_not_installed_is_named(stream, command):
    ran = command("logs", "--extension", "absent", "--json")
    assert (ran.status, ran.json()["code"]) == (1, "not_installed")


def test_a_missing_permission_is_a_refusal(stream, at, logs):
    at.on("GET", PATH, refusing(403, "forbidden", "extension:debug is needed"))
    ran = logs()
    assert ran.status == 3
    assert "extension:debug" in ran.err


def test_following_goes_on_after_the_end_until_it_is_refused(stream, logs, monkeypatch):
    stream("retry: 1\n\n", event(1, message="hello"), then=refusing(401, "invalid_session", "expired"))
    ran = logs("-f")
    assert ran.status == 3
    assert "hello" in ran.out
    assert "the stream ended; trying again" in ran.err
    assert "expired" in ran.err
