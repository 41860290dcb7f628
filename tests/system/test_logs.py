"""One request id finds a call everywhere: in both services' logs, in its record and in the guest's own events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.local.record import Stack
from tests.runner.waiting import until
from tests.system.acting import Visitor
from tests.system.test_debug import is_whole_request, of
from tests.system.test_records import row_of
from tests.system.watching import watching


def lines(directory: Path, service: str, request_id: str) -> list[dict[str, Any]]:
    """The log lines of one request; every line of the log is JSON."""
    found = [json.loads(line) for line in (directory / "logs" / f"{service}.log").read_text().splitlines()]
    return [line for line in found if line.get("request_id") == request_id]


async def one_line(directory: Path, service: str, request_id: str) -> dict[str, Any]:
    await until(lambda: bool(lines(directory, service, request_id)))
    (line,) = lines(directory, service, request_id)
    return line


@pytest.mark.parametrize(
    ("path", "status", "code", "request_id"),
    [("/log?secret=in-the-query", 200, "ok", "req-logged"), ("/trap", 502, "guest_trapped", "req-logged-trap")],
)
async def test_one_request_id_finds_a_call_in_both_logs_its_record_and_the_guests_events(
    stack: Stack, stack_directory: Path, admin: Visitor, path: str, status: int, code: str, request_id: str
) -> None:
    extension = stack.extension("hello-python", "acme")
    async with watching(stack, extension, stack.tenant("acme").admin_token) as stream:
        target = f"/api/ext/{extension.install_id}{path}"
        answer = await admin.get(target, headers={"x-request-id": request_id})
        assert answer.status == status
        await stream.until(lambda stream: is_whole_request(stream, request_id))
    assert len(of(stream, request_id)) >= 2
    assert (await row_of(stack, answer))["http_status"] == status
    gateway = await one_line(stack_directory, "gateway", request_id)
    runner = await one_line(stack_directory, "runner", request_id)
    assert (gateway["event"], gateway["status"], gateway["tenant_id"]) == ("request", status, "acme")
    assert (gateway["extension_id"], gateway["install_id"]) == (extension.id, extension.install_id)
    assert (runner["event"], runner["code"], runner["tenant_id"]) == ("call", code, "acme")
    assert runner["extension_id"] == extension.id
    assert "in-the-query" not in json.dumps([gateway, runner])
