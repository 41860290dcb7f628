"""Executions as any holder of the service token may ask for them, with the whole answer at hand for checking."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Final

import aiohttp
import msgspec

from deploy.local.record import Extension
from shared import wire
from shared.capabilities import DEFAULTS

CALL_MAX_S: Final = 60.0
IDLE_S: Final = 4.0  # below the server's, so that it never closes a connection we are about to use
NAMES: Final = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 9562 §6.6: ids that follow from a name


class Told(msgspec.Struct, frozen=True):
    """What came back: decoded, and as it stood on the wire."""

    http_status: int
    answer: wire.ExecuteResponse
    raw: bytes

    @property
    def code(self) -> str:
        """`ok`, or the code of the refusal."""
        return "ok" if self.answer.error is None else self.answer.error.code


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of a sample, for whoever one says."""

    extension: Extension
    tenant: str
    path: str
    method: str = "GET"
    query: str | None = None
    body: bytes | None = None
    headers: dict[str, str] = {}
    config: dict[str, str] = {}
    user: wire.User | None = None
    providers: tuple[str, ...] = DEFAULTS
    egress: tuple[str, ...] = ()
    timeout_ms: int = 20_000
    request_id: str = "soak"
    debug: bool = False
    kind: str = wire.MSGPACK

    @property
    def install_id(self) -> str:
        """The tenant's own install of the extension."""
        return str(uuid.uuid5(NAMES, f"install/{self.tenant}/{self.extension.id}"))

    @property
    def version_id(self) -> str:
        """The version that tenant has."""
        return str(uuid.uuid5(NAMES, f"version/{self.tenant}/{self.extension.id}"))

    def encoded(self) -> bytes:
        """The request's body."""
        context = wire.Context(
            request_id=self.request_id,
            tenant_id=self.tenant,
            extension_id=self.extension.id,
            install_id=self.install_id,
            version_id=self.version_id,
            content_hash=self.extension.content_hash,
        )
        http = wire.Http(
            method=self.method, path=self.path, query_string=self.query, headers=self.headers, body=self.body
        )
        request = wire.ExecuteRequest(
            context=context,
            http=http,
            limits=wire.Limits(timeout_ms=self.timeout_ms),
            config=self.config,
            providers=self.providers,
            egress=self.egress,
            user=self.user,
            debug=self.debug,
        )
        return wire.encode_execute(request, self.kind)


class Caller:
    """Asks one runner."""

    def __init__(self, session: aiohttp.ClientSession, base: str, token: str) -> None:
        self._session, self._base, self._token = session, base, token

    async def execute(self, ask: Ask) -> Told:
        """Ask and wait. Raises `aiohttp.ClientError` when there is no answer at all."""
        headers = {
            "content-type": ask.kind,
            "authorization": f"Bearer {self._token}",
            "x-alga-tenant": ask.tenant,
            "x-alga-extension": ask.extension.id,
        }
        url = f"{self._base}/v1/execute"
        async with self._session.post(url, data=ask.encoded(), headers=headers) as response:
            raw = await response.read()
            sent = b"\n".join(b": ".join(pair) for pair in response.raw_headers)
            return Told(response.status, wire.decode_answer(raw, response.content_type), sent + b"\n\n" + raw)


@contextlib.asynccontextmanager
async def calling(base: str, token: str) -> AsyncIterator[Caller]:
    """A caller with connections of its own."""
    timeout = aiohttp.ClientTimeout(total=CALL_MAX_S)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session:
        yield Caller(session, base, token)
