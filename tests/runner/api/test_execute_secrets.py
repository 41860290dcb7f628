"""Secrets through the execute door: refused before dispatch, in the answer's record, and in nothing that is said (T29).

The guest asks `storage.get`; in its place stands a capability that reads a secret for it, so that everything around is
the real thing: door, executor, sandbox, recorder, log.
"""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
import structlog

from runner.capabilities.capability import Call, Capability
from runner.capabilities.table import with_services
from runner.sandbox.pool import PoolOptions
from runner.secrets.keyring import Keyring, SealedBoxes
from shared import logs, wire
from shared.sealing import SealingKey
from tests.runner.api.door import EXTENSION, INSTALL, Runner, minted, request
from tests.runner.sandbox.driving import running_pool
from tests.runner.secrets.sealed import CANARY, KEY, envelope

GRANTED = ("cap:context.read", "cap:log.emit", "cap:secrets.get", "cap:storage.kv")
OWN = ("acme", INSTALL, "api_key")


class Reading:
    """Answers `storage.get` with the value of a secret, or fails on it."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def get(self, namespace: str, key: str) -> Any:
        value = await self._call.secrets.value("api_key")
        if self._call.request.http.method == "PUT":
            raise RuntimeError(f"it failed on {value}")
        return True, [namespace, key, value.encode(), None]


@pytest.fixture
async def runner(native: bytes) -> AsyncIterator[Runner]:
    """A door whose guest reads a secret at `/h`."""
    table = with_services(Capability(name="cap:storage.kv", interface="storage", open=Reading))
    async with running_pool(PoolOptions(sandbox_max=4)) as pool:
        yield Runner(pool, native, table, Keyring(SealedBoxes([KEY])))


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything this process logs."""
    stream = io.StringIO()
    logs.configure("runner", stream)
    yield stream
    structlog.reset_defaults()


async def call(runner: Runner, path: str, *envelopes: wire.SecretEnvelope, **more: Any) -> tuple[int, Any]:
    return await runner.call(path, **{"providers": GRANTED, "secret_envelopes": envelopes, **more})


async def refused(runner: Runner, *envelopes: wire.SecretEnvelope, **more: Any) -> wire.ErrorBody:
    status, answer = await call(runner, "/h", *envelopes, **more)
    assert answer.error is not None
    assert status == answer.status == 502
    return answer.error


async def test_a_secret_is_opened_for_the_guest_that_asks(runner: Runner) -> None:
    status, answer = await call(runner, "/h", envelope(owner=OWN))
    assert (status, answer.status, answer.incidents) == (200, 299, ())


@pytest.mark.parametrize(
    "changes", [{"key": SealingKey(b"\3" * 32)}, {"algorithm": "plain:v1"}, {"algorithm": "vault-transit:v1"}]
)
async def test_an_unknown_key_or_algorithm_is_refused_before_anything_runs(
    runner: Runner, changes: dict[str, Any]
) -> None:
    unknown = envelope(owner=OWN, **changes)
    error = await refused(runner, envelope("other", owner=OWN), unknown)
    assert (error.code, error.blame, error.started) == ("secret_unavailable", "host", False)
    assert unknown.key_id in error.message
    assert runner.bundles.loads == 0
    single = await refused(runner, secret_envelope=unknown)
    assert single.code == "secret_unavailable"
    ungranted = ("cap:context.read", "cap:log.emit", "cap:storage.kv")
    status, _ = await call(runner, "/echo", unknown, providers=ungranted)
    assert status == 200


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"owner": ("globex", INSTALL, "api_key")}, "secret_binding_mismatch"),
        ({"owner": OWN, "expires_at": "2001-01-01T00:00:00Z"}, "secret_expired"),
        ({"owner": OWN, "ciphertext_b64": "AAAA"}, "secret_unavailable"),
    ],
)
async def test_t62_what_was_refused_to_the_guest_stands_in_the_answer_and_is_counted(
    runner: Runner, changes: dict[str, Any], code: str
) -> None:
    status, answer = await call(runner, "/h", envelope(**changes))
    assert (status, answer.status, answer.error, answer.incidents) == (200, 299, None, (code,))
    assert f'ext_incidents_total{{code="{code}"}} 1.0' in runner.metrics.text().decode()


async def test_t29_a_value_stands_in_no_event_no_log_line_and_no_error(runner: Runner, log: io.StringIO) -> None:
    header = f"not a name: {CANARY}"
    http = wire.Http(method="POST", path="/h", headers={header: "1"}, body=None)
    body = msgspec.structs.replace(asking(envelope(owner=OWN)), http=http)
    status, answer = await sent(runner, body)
    assert (status, answer.error.code) == (502, "guest_response_invalid")
    assert answer.error.message == 'header "not a name: ***" is not a valid header'
    failing = msgspec.structs.replace(body, http=msgspec.structs.replace(http, method="PUT", headers={}))
    assert (await sent(runner, failing))[0] == 200
    said = log.getvalue()
    assert "host_call_failed" in said
    assert "it failed on ***" in said
    assert CANARY not in said
    assert CANARY not in repr(runner.sink.events)


async def test_t29_a_value_too_long_to_be_shown_whole_is_not_shown_at_all(runner: Runner) -> None:
    long = f"no name {CANARY}" * 8
    http = wire.Http(method="POST", path="/h", headers={long: "1"}, body=None)
    secret = envelope(value=long, owner=OWN)
    _, answer = await sent(runner, msgspec.structs.replace(asking(secret), http=http))
    assert answer.error is not None
    assert answer.error.message == "header 1 is not a valid header"


def asking(*envelopes: wire.SecretEnvelope) -> wire.ExecuteRequest:
    return request("/h", providers=GRANTED, secret_envelopes=envelopes)


async def sent(runner: Runner, asked: wire.ExecuteRequest) -> tuple[int, wire.ExecuteResponse]:
    body = wire.encode_execute(asked, wire.JSON)
    headers = {
        "content-type": wire.JSON,
        "authorization": f"Bearer {minted(body)}",
        "x-alga-tenant": "acme",
        "x-alga-extension": EXTENSION,
    }
    status, _, answer = await runner.post(body, headers)
    assert CANARY not in json.dumps(json.loads(answer))
    return status, wire.decode_answer(answer, wire.JSON)
