"""The hop: `POST /v1/execute` on one runner, MessagePack both ways, once more on another when nothing ran.

A call is repeated only when the runner itself says that no guest code started, or when no connection could be
made; a connection that breaks after the bytes left may have run the guest, so it is an answer (502), not a reason
to try again. The wait is the call's deadline plus a grace, so that the runner's `guest_timeout` wins. Cancelling
the awaiting task closes the connection, by which the runner cancels the guest.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec
import structlog
from prometheus_client import CollectorRegistry, Counter

from gateway.proxy import failures
from gateway.proxy.retry import RetryBudget
from gateway.proxy.runners import Fleet, Runner, system_lookup
from gateway.proxy.tokens import TokenMint
from shared.deadline import Deadline
from shared.errors import BadGateway, GatewayTimeout, GuestResponseInvalid
from shared.keys import PrivateKey
from shared.limits import (
    GATEWAY_GRACE_MS,
    MIB,
    RESPONSE_BODY_MAX_BYTES,
    RUNNER_CONNECT_MAX_MS,
    RUNNER_CONNECTIONS_MAX,
    RUNNER_KEEPALIVE_S,
    WIRE_MAX_BYTES,
)
from shared.wire import MSGPACK, ExecuteRequest, ExecuteResponse, decode_answer, encode_execute

if TYPE_CHECKING:
    from gateway.settings import GatewaySettings

EXECUTE_PATH: Final = "/v1/execute"
READ_CHUNK_BYTES: Final = 1 << 16  # what one socket read yields at most

_NEVER_SENT: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""No connection was made, so not a byte left. `ClientConnectorDNSError` and the TLS errors are among them."""


class Reply(msgspec.Struct, frozen=True):
    """What one runner answered: `answer.error` is set when there is no guest answer."""

    answer: ExecuteResponse
    retry_after_s: int | None = None


class RunnerClient:
    """Executes requests on the runners.

    Args:
        session: open while this object is used.
        fleet: the runners there are.
        tokens: mints the execute token of each attempt.
        retries: counts repeated calls, one for each process.
    """

    def __init__(
        self, session: aiohttp.ClientSession, fleet: Fleet, tokens: TokenMint, retries: Counter | None = None
    ) -> None:
        self._session = session
        self._fleet = fleet
        self._budget = RetryBudget()
        self._retries = retries
        self.tokens = tokens

    async def execute(self, request: ExecuteRequest, headers: Mapping[str, str], deadline: Deadline) -> Reply:
        """Run `request` and wait for its end.

        Args:
            request: the envelope; each attempt sends it with the time that is left as its timeout.
            headers: the routing headers; content type and authorization are added here.
            deadline: of the guest; the wait is `GATEWAY_GRACE_MS` longer.

        Raises:
            GatewayTimeout: the runner gave no answer by then, or there was no time left to ask.
            BadGateway: no runner could be reached, or one gave no usable answer.
            GuestResponseInvalid: the guest's body is larger than the limit.
        """
        key = f"{request.context.content_hash}/{request.context.tenant_id}"
        self._budget.call()
        try:
            async with asyncio.timeout(deadline.remaining_s() + GATEWAY_GRACE_MS / 1000):
                return await self._with_retry(request, headers, deadline, key)
        except TimeoutError as error:
            raise GatewayTimeout("the runner did not answer by the call's deadline", started=True) from error

    async def _with_retry(
        self, request: ExecuteRequest, headers: Mapping[str, str], deadline: Deadline, key: str
    ) -> Reply:
        first = self._fleet.choose(key)
        reply = await self._attempt(first, _within(request, deadline), headers)
        if not _repeatable(reply) or not self._budget.take():
            return _or_unreachable(reply)
        if self._retries is not None:
            self._retries.inc()
        second = self._fleet.choose(key, exclude=first)
        return _or_unreachable(await self._attempt(second, _within(request, deadline), headers))

    async def _attempt(self, runner: Runner, request: ExecuteRequest, headers: Mapping[str, str]) -> Reply | None:
        """One try on one runner; none when no connection could be made."""
        body = encode_execute(request, MSGPACK)
        sent = {
            **headers,
            "content-type": MSGPACK,
            "accept": MSGPACK,
            "authorization": f"Bearer {self.tokens.execute(request, body)}",
        }
        tls_name = None
        if runner.server_name is not None:
            sent["host"] = runner.server_name
            tls_name = urlsplit(f"//{runner.server_name}").hostname
        runner.in_flight += 1
        try:
            async with self._session.post(
                runner.base_url + EXECUTE_PATH,
                data=body if len(body) <= MIB else io.BytesIO(body),  # larger ones go out in pieces, the loop between
                headers=sent,
                server_hostname=tls_name,
                allow_redirects=False,
            ) as response:
                return await _read(response)
        except _NEVER_SENT as error:
            self._fleet.refused(runner)
            structlog.get_logger().warning("runner_unreachable", runner=runner.base_url, error=str(error))
            return None
        except (aiohttp.ClientError, OSError) as error:
            structlog.get_logger().warning("runner_broke_off", runner=runner.base_url, error=repr(error))
            raise BadGateway("the connection to the runner broke before its answer", started=True) from error
        finally:
            runner.in_flight -= 1


@asynccontextmanager
async def open_runner(
    settings: GatewaySettings, gateway_key: PrivateKey, metrics: CollectorRegistry
) -> AsyncIterator[RunnerClient]:
    """The client for one process: a keep-alive pool, and the look-up of runner names beside it."""
    connector = aiohttp.TCPConnector(limit=RUNNER_CONNECTIONS_MAX, keepalive_timeout=RUNNER_KEEPALIVE_S)
    retries = Counter("ext_runner_retries_total", "Calls that were sent to a second runner.", registry=metrics)
    fleet = Fleet(settings.runner_base_url, time.monotonic, system_lookup)
    await fleet.refresh()
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=RUNNER_CONNECT_MAX_MS / 1000),
        skip_auto_headers=("user-agent", "accept-encoding"),
        auto_decompress=False,
        trust_env=False,
    )
    lookups = asyncio.create_task(fleet.keep_fresh(), name="runner look-ups")
    try:
        yield RunnerClient(session, fleet, TokenMint(gateway_key, time.time, settings.providers), retries)
    finally:
        lookups.cancel()
        await asyncio.gather(lookups, return_exceptions=True)
        await session.close()


def _within(request: ExecuteRequest, deadline: Deadline) -> ExecuteRequest:
    """The request with the time that is left. Raises `GatewayTimeout` when there is none."""
    left_ms = deadline.remaining_ms()
    if left_ms < 1:
        raise GatewayTimeout("the call's time was over before a runner could be asked")
    limits = msgspec.structs.replace(request.limits, timeout_ms=left_ms)
    return msgspec.structs.replace(request, limits=limits)


def _repeatable(reply: Reply | None) -> bool:
    return reply is None or (reply.answer.error is not None and failures.may_retry(reply.answer.error))


def _or_unreachable(reply: Reply | None) -> Reply:
    if reply is None:
        raise BadGateway("no runner could be reached", retry_after_s=1)
    return reply


async def _read(response: aiohttp.ClientResponse) -> Reply:
    """The message in a runner's answer, within the size limits."""
    received = bytearray()
    async for chunk in response.content.iter_chunked(READ_CHUNK_BYTES):
        received += chunk
        if len(received) > WIRE_MAX_BYTES:
            response.close()
            raise GuestResponseInvalid(_too_large())
    kind = response.headers.get("content-type", "")
    if not kind.startswith(MSGPACK):
        raise BadGateway("the runner answered with something other than MessagePack", started=True)
    try:
        answer = decode_answer(bytes(received), MSGPACK)
    except msgspec.MsgspecError as error:
        raise BadGateway("the runner's answer is not decodable", started=True) from error
    if (response.status == 200) == (answer.error is not None):
        raise BadGateway("the runner's status and answer contradict each other", started=True)
    if answer.error is None and len(answer.body or b"") > RESPONSE_BODY_MAX_BYTES:
        raise GuestResponseInvalid(_too_large())
    return Reply(answer, _seconds(response.headers.get("retry-after")))


def _too_large() -> str:
    return f"the extension's body may have at most {RESPONSE_BODY_MAX_BYTES} bytes"


def _seconds(value: str | None) -> int | None:
    return int(value) if value is not None and value.isascii() and value.isdigit() and len(value) <= 5 else None
