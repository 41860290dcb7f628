"""http towards a guest: values of the world's types, four words for refusals, and what people are told about them."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
import structlog

from runner.capabilities import http
from runner.capabilities.capability import Call
from runner.capabilities.host_calls import HostCalls
from runner.capabilities.table import BY_INTERFACE, CAPABILITIES, with_services
from runner.debug.recorder import Recorder
from runner.meter import Meter
from runner.secrets.execution import ExecutionSecrets
from runner.secrets.keyring import Keyring, SealedBoxes
from shared.deadline import Deadline
from shared.debug_event import ExtDebugEvent
from shared.limits import EGRESS_FETCHES_MAX_COUNT
from shared.logs import redact_text
from shared.wire import ExecuteRequest, Http, SecretEnvelope
from shared.wit_parser import load_world
from tests.runner.egress.outside import Outside, outside, private
from tests.runner.egress.upstream import Received, Upstream, answer
from tests.runner.secrets.sealed import CANARY, CONTEXT, KEY, envelope

WORLD = load_world()


class Guest:
    """Calls the interface as a sandbox does."""

    def __init__(
        self,
        out: Outside,
        *egress: str,
        granted: bool = True,
        secrets: tuple[SecretEnvelope, ...] = (),
        timeout_ms: int = 5000,
    ) -> None:
        self.events: list[ExtDebugEvent] = []
        self.meter = Meter()
        request = ExecuteRequest(context=CONTEXT, http=Http(method="GET", path="/"), egress=egress)
        self.recorder = Recorder(CONTEXT, self)
        opened = ExecutionSecrets(CONTEXT, secrets, Keyring(SealedBoxes([KEY])), self.recorder)
        call = Call(request, Deadline.after_ms(timeout_ms), self.recorder, self.meter, opened)
        grants = frozenset({http.CAPABILITY.name} if granted else ())
        self._calls = HostCalls(WORLD, grants, call, with_services(http.capability(out.egress)))

    def emit(self, event: ExtDebugEvent) -> None:
        self.events.append(event)

    def told(self) -> list[str]:
        """What the author reads beside the host calls themselves."""
        return [event.message for event in self.events if event.stream == "system"]

    async def fetch(self, url: str, *headers: tuple[str, str], method: str = "GET", body: bytes | None = None) -> Any:
        arguments = [[method, url, [list(header) for header in headers], body]]  # lists, as they come from a sandbox
        return await self._calls.answer("http", "fetch", arguments)


def at(upstream: Upstream) -> str:
    return f"http://up.localhost:{upstream.port}"


def test_the_capability_stands_in_the_list_and_nobody_answers_it_without_a_way_out() -> None:
    assert http.CAPABILITY in CAPABILITIES
    assert BY_INTERFACE["http"].open is None


async def test_an_answer_has_the_fields_of_the_world_in_their_order() -> None:
    async with Upstream() as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        guest = Guest(out, at(up))
        assert await guest.fetch(at(up), ("x-a", "1")) == (True, (200, [("content-length", "5")], b"hello"))
        assert guest.meter.egress_bytes > len("GET / HTTP/1.1") + len(answer())
    assert up.requests[0].header("x-a") == "1"


async def test_an_answer_without_a_body_has_none() -> None:
    async with Upstream() as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        got = await Guest(out, at(up)).fetch(at(up), method="HEAD")
    assert got == (True, (200, [("content-length", "5")], None))


async def test_without_the_capability_nothing_is_sent_though_the_host_is_granted() -> None:
    async with Upstream() as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        guest = Guest(out, at(up), granted=False)
        assert await guest.fetch(at(up)) == (False, "not-allowed")
    assert up.connections == 0
    assert guest.told() == ["http.fetch: cap:http.fetch is not granted"]


@pytest.mark.parametrize(
    ("url", "case"),
    [
        ("https://api.example.com/", "not-allowed"),
        ("http://169.254.169.254/", "not-allowed"),
        ("/relative", "invalid-url"),
        ("http://a@b.example/", "invalid-url"),
        ("http://up.localhost:1/", "transport"),
    ],
)
async def test_a_guest_hears_one_of_the_words_of_its_world_and_its_author_the_reason(url: str, case: str) -> None:
    async with outside(private=private("up.localhost:1")) as out:
        guest = Guest(out, "http://up.localhost:1")
        assert await guest.fetch(url) == (False, case)
    (told,) = guest.told()
    assert told.startswith(f"http.fetch: {case} (")
    host_call = next(event for event in guest.events if event.stream == "host")
    assert host_call.data is not None
    assert host_call.data["outcome"] == case


async def test_a_denial_names_the_entry_and_stands_in_the_record() -> None:
    async with outside() as out:
        guest = Guest(out)
        await guest.fetch("https://api.example.com:8443/canary?canary")
    (told,) = guest.told()
    assert '"https://api.example.com:8443" in its egress list would allow it' in told
    assert "canary" not in told
    assert guest.recorder.incidents == ("egress_denied",)


async def test_the_fetches_of_an_execution_are_counted_together() -> None:
    async with Upstream() as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        guest = Guest(out, at(up))
        answers = [await guest.fetch(at(up)) for _ in range(EGRESS_FETCHES_MAX_COUNT + 2)]
        assert (await Guest(out, at(up)).fetch(at(up)))[0]  # another execution begins anew
    assert [got for got, _ in answers] == [True] * EGRESS_FETCHES_MAX_COUNT + [False] * 2
    assert answers[-1] == (False, "not-allowed")
    assert len(up.requests) == EGRESS_FETCHES_MAX_COUNT + 1


async def test_an_upstream_that_keeps_silent_is_transport_before_the_execution_itself_ends() -> None:
    async def never(_received: Received, _writer: Any) -> bool:
        await asyncio.Event().wait()
        return False

    async with Upstream(never) as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        guest = Guest(out, at(up), timeout_ms=300)
        with structlog.testing.capture_logs() as lines:
            assert await guest.fetch(at(up)) == (False, "transport")
    assert [line["event"] for line in lines] == ["egress_allowed", "egress_failed"]


# ---- secrets ----------------------------------------------------------------------------------------------------


async def test_a_bound_secret_reaches_its_host_and_comes_back_nowhere() -> None:
    async def echo(received: Received, writer: Any) -> bool:
        heard = received.header("authorization") or ""
        writer.write(answer(f"you said {heard}".encode(), 200, (("x-heard", heard),)))
        return True

    async with Upstream(echo) as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        guest = Guest(out, at(up), secrets=(envelope(hosts=(at(up),)),))
        with structlog.testing.capture_logs() as lines:
            got = await guest.fetch(at(up), ("authorization", "Bearer {{secret:api_key}}"))
            guest.recorder.record("info", "stdout", f"a guest that knew it: {CANARY}")
    assert up.requests[0].header("authorization") == f"Bearer {CANARY}"
    assert got == (True, (200, [("x-heard", "Bearer ***")], b"you said Bearer ***"))
    assert CANARY not in repr(guest.events) + repr(lines)


@pytest.mark.parametrize(
    ("held", "says"),
    [
        ((), "no secret 'api_key' is set for this install"),
        ((envelope(hosts=("https://api.example.com",)),), "secret_host_mismatch"),
        ((envelope(hosts=()),), "secret_host_mismatch"),
        ((envelope(hosts=("http://up.localhost",)),), "secret_host_mismatch"),  # another port
        ((envelope(hosts=("{at}",), expires_at="2020-01-01T00:00:00Z"),), "secret_expired"),
        ((envelope(hosts=("{at}",), owner=("globex", "i", "api_key")),), "secret_binding_mismatch"),
    ],
)
async def test_a_secret_that_may_not_be_put_in_ends_the_request_with_a_reason(held: Any, says: str) -> None:
    async with Upstream() as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        secrets = tuple(
            msgspec.structs.replace(one, hosts=tuple(host.format(at=at(up)) for host in one.hosts)) for one in held
        )
        guest = Guest(out, at(up), secrets=secrets)
        assert await guest.fetch(at(up), ("x-key", "{{secret:api_key}}")) == (False, "not-allowed")
    assert up.connections == 0
    assert any(says in told for told in guest.told())
    assert CANARY not in repr(guest.events)


async def test_a_credential_of_the_platform_in_a_message_is_taken_out() -> None:
    token = "eyJhbGciOiJFZERTQSJ9.eyJhIjoxfQ.c2lnbmF0dXJl"  # the form of a JWS
    assert token not in redact_text(token)
    async with outside() as out:
        guest = Guest(out)
        await guest.fetch(f"https://api.example.com/?{token}")
    assert token not in repr(guest.events)
