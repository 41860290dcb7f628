"""The object store (S3 and what speaks like it): reads with a bound on bytes and time, and the compiler's writes.

Retries are ours, not the library's: its defaults multiply load on a store that is already slow. A read that failed is
tried again after a pause with full jitter, and only while the retry budget lasts: a tenth of all reads (fault F09).
Checksums are ours as well (SHA-256 of everything that matters), so the library's optional ones are off. So is the time
one read may take: aiohttp 3.14's own (`sock_read`) can be left running on a connection that went back to the pool after
a body of more than 512 KiB, and then ends the next request, whoever sends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Final

import structlog
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError

from runner.clients.http import TRANSPORT_ERRORS
from runner.settings import StoreSettings
from shared.deadline import Deadline
from shared.errors import BundleNotFound, BundleUnavailable, BundleUntrusted

CHUNK_BYTES: Final = 256 << 10  # 256 KiB: what one read of a socket gives at best
CONNECT_MAX_S: Final = 1.0  # a store that does not accept within this is down (a cold answer is due in 2 s)
READ_MAX_S: Final = 5.0  # until an answer begins, and between two parts of its body
CONNECTIONS_MAX: Final = 32  # parallel reads of one worker
RETRY_AFTER_S: Final = 2
ATTEMPTS_MAX: Final = 3
PAUSE_MAX_S: Final = 0.2  # before the second attempt, doubled before the third; a caller is waiting
BUDGET_SHARE: Final = 0.1  # retries for each successful read
BUDGET_MAX: Final = 10.0  # retries saved up at most

_MISSING: Final = frozenset({"NoSuchKey", "404", "NotFound"})
_PASSING: Final = frozenset(
    {"SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "500", "502", "503", "504"}
)
_NETWORK: Final = (BotoCoreError, *TRANSPORT_ERRORS)
_SLOW: Final = (ConnectTimeoutError, TimeoutError)  # a black hole: waiting again helps nobody

_log = structlog.get_logger()


class RetryBudget:
    """How many retries may be spent: every success earns a tenth of one, so that a dead store is not hammered."""

    def __init__(self) -> None:
        self._tokens = BUDGET_MAX / 2

    def earn(self) -> None:
        """Note a success."""
        self._tokens = min(BUDGET_MAX, self._tokens + BUDGET_SHARE)

    def spend(self) -> bool:
        """Whether one more retry is allowed; it counts as spent."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class _PassingError(Exception):
    """An attempt that may be repeated."""


class Objects:
    """One bucket. Made by `open_objects`.

    Args:
        client: the library's S3 client.
        bucket: `StoreSettings.bundle_bucket`.
        jitter: a number from 0 to 1 for each pause; an argument so that tests own chance.
    """

    def __init__(self, client: Any, bucket: str, jitter: Callable[[], float] = random.random) -> None:
        self._client = client
        self._bucket = bucket
        self._jitter = jitter
        self._budget = RetryBudget()

    async def read(self, key: str, *, max_bytes: int, deadline: Deadline) -> bytes:
        """The whole object.

        Raises:
            BundleNotFound: there is none.
            BundleUntrusted: it is longer than `max_bytes`, which nothing that was published is.
            BundleUnavailable: the store cannot be reached or refuses us.
        """
        found = bytearray()
        async for part in self.stream(key, max_bytes=max_bytes, deadline=deadline, restart=found.clear):
            found += part
        return bytes(found)

    async def stream(
        self, key: str, *, max_bytes: int, deadline: Deadline, restart: Callable[[], object]
    ) -> AsyncGenerator[bytes, None]:
        """The object's bytes in parts. `restart` is called when a second attempt begins from the first byte again.

        Raises:
            BundleNotFound, BundleUntrusted, BundleUnavailable: as `read`.
        """
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                async with asyncio.timeout(_patience_s(deadline)):
                    body, length = await self._get(key)
                size = 0
                async with body:
                    _check_length(key, length, max_bytes)
                    while part := await self._part(body, deadline):
                        size += len(part)
                        _check_length(key, size, max_bytes)
                        yield part
            except (_PassingError, *_NETWORK) as error:
                last = attempt == ATTEMPTS_MAX or isinstance(error, _SLOW)
                if last or not await self._again(attempt, deadline):
                    raise self._unavailable(key, error) from error
                restart()
            else:
                self._budget.earn()
                return

    async def folders(self, prefix: str, deadline: Deadline) -> list[str]:
        """The names directly below `prefix`, which ends with `/`; in order. For commands, never for a request.

        Raises:
            BundleUnavailable: the store cannot be reached or refuses us.
        """
        found: list[str] = []
        try:
            async with asyncio.timeout(deadline.remaining_s()):
                pages = self._client.get_paginator("list_objects_v2")
                async for page in pages.paginate(Bucket=self._bucket, Prefix=prefix, Delimiter="/"):
                    found += [str(one["Prefix"])[len(prefix) : -1] for one in page.get("CommonPrefixes", ())]
        except (ClientError, *_NETWORK) as error:
            raise self._unavailable(prefix, error) from error
        return sorted(found)

    async def write(self, key: str, data: bytes, deadline: Deadline) -> None:
        """Store an object. The compiler role only; a runner's credentials cannot.

        Raises:
            BundleUnavailable: it could not be stored.
        """
        try:
            async with asyncio.timeout(deadline.remaining_s()):
                await self._client.put_object(Bucket=self._bucket, Key=key, Body=data)
        except (ClientError, *_NETWORK) as error:
            raise self._unavailable(key, error) from error

    async def reachable(self, deadline: Deadline) -> bool:
        """Whether the store answers at all, for `/readyz`."""
        try:
            async with asyncio.timeout(deadline.remaining_s()):
                await self._client.head_bucket(Bucket=self._bucket)
        except (ClientError, *_NETWORK):
            return False
        return True

    async def _get(self, key: str) -> tuple[Any, int]:
        try:
            answer = await self._client.get_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _MISSING:
                raise BundleNotFound(f"the store has no {key}") from error
            if code in _PASSING:
                raise _PassingError(code) from error
            raise self._unavailable(key, error) from error
        return answer["Body"], int(answer["ContentLength"])

    async def _part(self, body: Any, deadline: Deadline) -> bytes:
        async with asyncio.timeout(_patience_s(deadline)):
            part: bytes = await body.read(CHUNK_BYTES)
            return part

    async def _again(self, attempt: int, deadline: Deadline) -> bool:
        pause_s = self._jitter() * PAUSE_MAX_S * 2 ** (attempt - 1)
        if deadline.remaining_s() <= pause_s or not self._budget.spend():
            return False
        await asyncio.sleep(pause_s)
        return True

    def _unavailable(self, key: str, error: Exception) -> BundleUnavailable:
        reason = error.response["Error"].get("Code", "") if isinstance(error, ClientError) else type(error).__name__
        _log.warning("object_store_failed", object=key, reason=str(reason))
        return BundleUnavailable("the bundle store does not answer as it should", retry_after_s=RETRY_AFTER_S)


def _patience_s(deadline: Deadline) -> float:
    return min(READ_MAX_S, deadline.remaining_s())


def _check_length(key: str, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise BundleUntrusted(f"{key} is longer than the {max_bytes} bytes it may have")


@contextlib.asynccontextmanager
async def open_objects(settings: StoreSettings) -> AsyncIterator[Objects]:
    """The store of `settings`, its connections closed at the end of the block. Nothing is sent before the first read."""
    config = AioConfig(
        connect_timeout=CONNECT_MAX_S,
        read_timeout=None,  # ours: see above
        max_pool_connections=CONNECTIONS_MAX,
        retries={"total_max_attempts": 1},
        proxies={},  # not what the environment says
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if settings.storage_s3_force_path_style else "auto"},
    )
    async with get_session().create_client(
        "s3",
        region_name=settings.storage_s3_region,
        endpoint_url=settings.storage_s3_endpoint,
        aws_access_key_id=settings.storage_s3_access_key,
        aws_secret_access_key=settings.storage_s3_secret_key,
        config=config,
    ) as client:
        yield Objects(client, settings.bundle_bucket)
