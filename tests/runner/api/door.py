"""One worker's execute door in this process: real sandboxes behind a plain ASGI call, everything else small and known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from runner.api.execute import ExecuteDoor
from runner.api.execution import ExecutionLimits, Executor
from runner.api.running import RunningCalls
from runner.capabilities.capability import Capability
from runner.capabilities.table import BY_INTERFACE
from runner.debug.recorder import Sink
from runner.metrics import RunnerMetrics
from runner.sandbox.breaker import Breaker
from runner.sandbox.fair_queue import FairQueue
from runner.sandbox.pool import SandboxPool
from runner.sandbox.shares import Shares
from runner.secrets.keyring import Keyring
from runner.supervisor.replay import ReplayTable
from shared import wire
from shared.brakes import Brake, CallFacts
from shared.deadline import Deadline
from shared.debug_event import ExtDebugEvent
from shared.digest import sha256_hex
from shared.errors import BundleNotFound
from shared.ids import ContentHash
from shared.keys import PrivateKey
from shared.signing import BundleStatement
from shared.tokens import ExecuteClaims, Verifier, mint, new_jti
from shared.wit_parser import load_world
from tests.runner.sandbox.driving import sealed

KEY = PrivateKey(b"\x01" * 32)
OTHER_KEY = PrivateKey(b"\x02" * 32)
SERVICE_TOKEN = "a-service-token-for-tests-0123456789"
HASH = "sha256:" + "a" * 64
UI_ONLY = "sha256:" + "b" * 64
EXTENSION = "11111111-1111-4111-8111-111111111111"
INSTALL = "22222222-2222-4222-8222-222222222222"
VERSION = "33333333-3333-4333-8333-333333333333"


class Bundles:
    """Knows one bundle with a component and one without."""

    def __init__(self, code: bytes) -> None:
        self._code = code
        self.loads = 0

    async def verified(self, content_hash: ContentHash, deadline: Deadline) -> BundleStatement:
        if content_hash not in (HASH, UI_ONLY):
            raise BundleNotFound("no such digest")
        component = sha256_hex(self._code) if content_hash == HASH else None
        return BundleStatement(
            content_hash=content_hash,
            name="a.b",
            publisher="alga",
            version="1.0.0",
            manifest_sha256="d" * 64,
            component_sha256=component,
            issued_at="2026-01-01T00:00:00Z",
        )

    async def load(self, content_hash: ContentHash, deadline: Deadline) -> Any:
        self.loads += 1

        class Artefact:
            memfd = sealed(self._code)

        return Artefact()


class Feed:
    """What an operator stopped."""

    def __init__(self) -> None:
        self.revoked: set[str] = set()
        self.disabled: set[str] = set()
        self.brakes: list[Brake] = []
        self.stale = False
        self.heard_again = 0
        self.news: Callable[[], None] = lambda: None

    async def again(self) -> None:
        self.heard_again += 1
        self.news()

    def is_revoked(self, version_id: str) -> bool:
        return version_id in self.revoked

    def install_disabled(self, install_id: str) -> bool:
        return install_id in self.disabled

    def braked(self, call: CallFacts) -> bool:
        return any(brake.stops(call) for brake in self.brakes)


class Events(Sink):
    """Keeps debug events."""

    def __init__(self) -> None:
        self.events: list[ExtDebugEvent] = []

    def emit(self, event: ExtDebugEvent) -> None:
        self.events.append(event)


class Table:
    """The supervisor's table, in this process."""

    def __init__(self) -> None:
        self._table = ReplayTable()

    async def first_use(self, jti: str, expires_s: int) -> bool:
        return self._table.first_use(jti.encode(), expires_s)


class Runner:
    """One worker's execute door."""

    def __init__(
        self,
        pool: SandboxPool,
        code: bytes,
        table: Mapping[str, Capability] | None = None,
        keyring: Keyring | None = None,
    ) -> None:
        self.pool = pool
        self.bundles, self.feed, self.sink = Bundles(code), Feed(), Events()
        self.running = RunningCalls(self.feed, self.bundles)
        self.breaker = Breaker(clock=lambda: self.now_s)
        self.now_s = 1000.0
        self.caller_left = asyncio.Event()
        self.metrics = RunnerMetrics()
        self.shares = Shares()
        self.queue = FairQueue(2, self.shares)
        executor = Executor(
            limits=ExecutionLimits(default_timeout_ms=2000, max_timeout_ms=4000),
            trusted=self.bundles,
            code=self.bundles,
            running=self.running,
            breaker=self.breaker,
            pool=pool,
            queue=self.queue,
            world=load_world(),
            sink=self.sink,
            metrics=self.metrics,
            table=BY_INTERFACE if table is None else table,
            keyring=Keyring() if keyring is None else keyring,
        )
        verifier = Verifier([KEY.public], {"runner", "runner:me"})
        self.door = ExecuteDoor(executor, verifier, Table(), self.metrics, SERVICE_TOKEN)

    async def post(
        self, body: bytes, headers: dict[str, str], more: list[bytes] | None = None
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        messages = [body, *(more or [])]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if not messages:
                await self.caller_left.wait()
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": messages.pop(0), "more_body": bool(messages)}

        async def send(message: Any) -> None:
            sent.append(message)

        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        await self.door({"type": "http", "path": "/v1/execute", "method": "POST", "headers": raw}, receive, send)
        return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]

    async def call(self, path: str = "/echo", **changes: Any) -> tuple[int, wire.ExecuteResponse]:
        """One call with a fresh, correct token unless `changes` say otherwise."""
        kind = changes.pop("kind", wire.MSGPACK)
        routing = changes.pop("routing", None)
        token = changes.pop("token", None)
        body = wire.encode_execute(request(path, **dict(changes)), kind)
        install = changes.get("install", INSTALL)
        minted_token = minted(body, install=install, tenant=changes.get("tenant", "acme")) if token is None else token
        headers = {
            "content-type": kind,
            "authorization": f"Bearer {minted_token}",
            "x-alga-tenant": changes.get("tenant", "acme"),
            "x-alga-extension": EXTENSION,
        }
        status, _, answer = await self.post(body, headers | (routing or {}))
        return status, wire.decode_answer(answer, kind)


def request(path: str = "/echo", **changes: Any) -> wire.ExecuteRequest:
    """A correct request for the test guest."""
    context = wire.Context(
        request_id="r-1",
        tenant_id=changes.pop("tenant", "acme"),
        extension_id=EXTENSION,
        install_id=changes.pop("install", INSTALL),
        version_id=VERSION,
        content_hash=changes.pop("content_hash", HASH),
    )
    body = changes.pop("body", b"hello")
    http = wire.Http(method="POST", path=path, headers={"x-test": "1"}, body=body)
    providers = ("cap:config.read", "cap:context.read", "cap:log.emit", "cap:user.read")
    return wire.ExecuteRequest(context=context, http=http, **({"providers": providers, "debug": True} | changes))


def claims(body: bytes, **changes: Any) -> ExecuteClaims:
    """Claims that fit `body`."""
    now = int(time.time())
    good: dict[str, Any] = {
        "iss": KEY.key_id,
        "aud": "runner",
        "op": "execute",
        "jti": new_jti(),
        "iat": now,
        "exp": now + 30,
        "body_sha256": sha256_hex(body),
        "tenant": "acme",
        "extension": EXTENSION,
        "install": INSTALL,
        "content_hash": HASH,
    }
    return ExecuteClaims(**(good | changes))


def minted(body: bytes, key: PrivateKey = KEY, **changes: Any) -> str:
    """A token for `body`."""
    return mint(key, claims(body, **changes))
