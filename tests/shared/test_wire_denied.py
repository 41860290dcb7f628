"""Denied targets in a runner's answer: their pinned bytes, and that who never saw the field never sees it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared import wire
from shared.wire import JSON, MSGPACK, DeniedTarget, ErrorBody, ExecuteResponse

GOLDEN = Path(__file__).parent.parent / "contract" / "golden" / "wire"
TARGETS = (
    DeniedTarget(target="https://api.example.com", reason="not-granted", times=2, grantable=True),
    DeniedTarget(target="http://10.0.0.1", reason="ip-denied"),
    DeniedTarget(target="https://b.example", reason="outside-fence", grantable=True, observed=True),
)
ANSWER = ExecuteResponse(status=200, incidents=("egress_denied",), denied_targets=TARGETS)
REFUSAL = ExecuteResponse(
    status=504,
    error=ErrorBody(code="guest_timeout", message="The extension did not answer in time", blame="guest", started=True),
    denied_targets=TARGETS[:1],
)
BYTES = {
    "execute_answer_denied.json": wire.encode_answer(ANSWER, JSON),
    "execute_answer_denied.msgpack": wire.encode_answer(ANSWER, MSGPACK),
    "execute_refusal_denied.json": wire.encode_answer(REFUSAL, JSON),
    "execute_refusal_denied.msgpack": wire.encode_answer(REFUSAL, MSGPACK),
}
each_form = pytest.mark.parametrize("content_type", [JSON, MSGPACK])


def fields(answer: ExecuteResponse, content_type: str) -> dict[str, Any]:
    data = wire.encode_answer(answer, content_type)
    found: dict[str, Any] = json.loads(data) if content_type == JSON else msgspec.msgpack.decode(data)
    return found


@pytest.mark.parametrize("name", BYTES)
def test_the_bytes_are_pinned(name: str) -> None:
    assert BYTES[name] == (GOLDEN / name).read_bytes()


@pytest.mark.parametrize("name", BYTES)
def test_the_pinned_bytes_are_read(name: str) -> None:
    content_type = JSON if name.endswith("json") else MSGPACK
    expected = ANSWER if "answer" in name else REFUSAL
    assert wire.decode_answer((GOLDEN / name).read_bytes(), content_type) == expected


@each_form
def test_an_answer_without_any_has_no_such_field(content_type: str) -> None:
    assert "denied_targets" not in fields(msgspec.structs.replace(ANSWER, denied_targets=()), content_type)
    assert len(fields(ANSWER, content_type)["denied_targets"]) == len(TARGETS)


@each_form
def test_a_runner_that_says_less_or_more_of_each_is_understood(content_type: str) -> None:
    said = fields(ANSWER, content_type)
    said["denied_targets"] = [{"target": "https://a.example", "reason": "not-granted", "why": "a field of tomorrow"}]
    data = json.dumps(said).encode() if content_type == JSON else msgspec.msgpack.encode(said)
    (found,) = wire.decode_answer(data, content_type).denied_targets
    assert found == DeniedTarget(target="https://a.example", reason="not-granted")
