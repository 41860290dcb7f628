"""secrets: what a guest is answered, by host calls as its sandbox makes them, and what is told about it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from runner.capabilities import secrets
from runner.capabilities.capability import Call
from runner.capabilities.host_calls import HostCalls
from runner.debug.recorder import Recorder
from runner.secrets.execution import ExecutionSecrets
from runner.secrets.keyring import Keyring, SealedBoxes
from shared.deadline import Deadline
from shared.debug_event import ExtDebugEvent
from shared.wire import ExecuteRequest, Http, SecretEnvelope
from shared.wit_parser import load_world
from tests.runner.secrets.sealed import CANARY, CONTEXT, INSTALL, KEY, boxed, envelope

WORLD = load_world()
GRANTED = frozenset({"cap:secrets.get"})


class Kept:
    def __init__(self) -> None:
        self.events: list[ExtDebugEvent] = []

    def emit(self, event: ExtDebugEvent) -> None:
        self.events.append(event)


class Guest:
    """Calls the host as a sandbox does."""

    def __init__(self, *envelopes: SecretEnvelope, granted: frozenset[str] = GRANTED) -> None:
        self.kept = Kept()
        self.recorder = Recorder(CONTEXT, self.kept)
        request = ExecuteRequest(context=CONTEXT, http=Http(method="GET", path="/"), secret_envelopes=envelopes)
        opened = ExecutionSecrets.of(request, Keyring(SealedBoxes([KEY])), self.recorder)
        call = Call(request, Deadline.after_ms(5000), self.recorder, secrets=opened)
        self.host = HostCalls(WORLD, granted, call)

    async def get(self, name: str) -> Any:
        return await self.host.answer("secrets", "get", [name])

    async def keys(self) -> Any:
        return await self.host.answer("secrets", "list-keys", [])


def test_its_coroutines_are_the_functions_of_the_interface():
    functions = {function.name.replace("-", "_") for function in WORLD.interfaces["secrets"].functions}
    assert functions == {name for name in vars(secrets.Secrets) if not name.startswith("_")}
    cases = re.search(r"enum secret-error \{([^}]*)\}", Path("shared/wit/types.wit").read_text())
    assert cases is not None
    assert re.findall(r"[a-z]+", cases[1]) == ["missing", "denied", "expired", "internal"]


async def test_a_granted_secret_is_read_and_listed():
    guest = Guest(envelope(), envelope("webhook", "another-canary"))
    assert await guest.get("api_key") == (True, CANARY)
    assert await guest.keys() == ["api_key", "webhook"]


async def test_without_the_grant_it_is_denied_and_the_list_is_empty():
    guest = Guest(envelope(), granted=frozenset({"cap:log.emit"}))
    assert await guest.get("api_key") == (False, "denied")
    assert await guest.keys() == []
    assert "cap:secrets.get is not granted" in guest.kept.events[0].message


@pytest.mark.parametrize(
    ("found", "case", "code"),
    [
        (envelope("other"), "missing", None),
        (envelope(expires_at="2001-01-01T00:00:00Z"), "expired", "secret_expired"),
        (envelope(owner=("globex", INSTALL, "api_key")), "denied", "secret_binding_mismatch"),
        (envelope(ciphertext_b64=boxed(b"?", KEY)), "internal", "secret_unavailable"),
        (envelope(ciphertext_b64="?"), "internal", "secret_unavailable"),
        (envelope(key_id="0" * 16), "internal", "secret_unavailable"),
        (envelope(expires_at="?"), "internal", "secret_unavailable"),
    ],
)
async def test_each_refusal_has_its_case_and_the_record_its_code(found, case, code):
    guest = Guest(found)
    assert await guest.get("api_key") == (False, case)
    assert guest.recorder.incidents == (() if code is None else (code,))
    assert CANARY not in repr(guest.kept.events)


async def test_t29_the_value_of_a_guest_is_in_none_of_its_lines():
    guest = Guest(envelope())
    _, value = await guest.get("api_key")
    for line in (value, f"key={value};", json.dumps({"key": value}), value.encode().hex()[:0] + value):
        guest.host.log("info", "stdout", line, False)
    assert CANARY not in repr(guest.kept.events)
    assert sum("***" in event.message for event in guest.kept.events) == 4
