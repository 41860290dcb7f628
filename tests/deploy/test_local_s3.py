"""The embedded S3: signatures are checked, each user has its rights, objects outlive a kill."""

from __future__ import annotations

import contextlib
import os
import signal
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from deploy.local.s3 import S3, Login, s3

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client


@contextlib.asynccontextmanager
async def _client(server: S3, login: Login) -> AsyncIterator[S3Client]:
    async with get_session().create_client(
        "s3",
        endpoint_url=server.endpoint,
        region_name=server.region,
        aws_access_key_id=login.access_key,
        aws_secret_access_key=login.secret_key,
        config=AioConfig(s3={"addressing_style": "path"}),
    ) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[S3]:
    """A running server for the tests of this file."""
    async with s3(tmp_path_factory.mktemp("s3") / "s3", keep=False) as found:
        yield found


def _code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


@pytest.mark.asyncio(loop_scope="module")
async def test_the_gateway_writes_once_and_reads(server: S3) -> None:
    async with _client(server, server.gateway) as client:
        await client.put_object(Bucket=server.bucket, Key="sha256/a", Body=b"bytes", IfNoneMatch="*")
        with pytest.raises(ClientError) as again:
            await client.put_object(Bucket=server.bucket, Key="sha256/a", Body=b"other", IfNoneMatch="*")
        assert _code(again) == "PreconditionFailed"
        answer = await client.get_object(Bucket=server.bucket, Key="sha256/a")
        assert await answer["Body"].read() == b"bytes"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_wrong_signature_is_refused(server: S3) -> None:
    async with _client(server, Login(server.gateway.access_key, "wrong")) as client:
        with pytest.raises(ClientError) as refused:
            await client.get_object(Bucket=server.bucket, Key="sha256/a")
    assert _code(refused) == "SignatureDoesNotMatch"


@pytest.mark.asyncio(loop_scope="module")
async def test_an_unsigned_request_is_refused(server: S3) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{server.endpoint}/{server.bucket}/sha256/a", timeout=10)
    with refused.value:
        assert refused.value.code == 403


@pytest.mark.asyncio(loop_scope="module")
async def test_the_compiler_writes_artefacts_and_nothing_else(server: S3) -> None:
    async with _client(server, server.compiler) as client:
        await client.put_object(Bucket=server.bucket, Key="aot/engine/x.cwasm.zst", Body=b"code")
        with pytest.raises(ClientError) as refused:
            await client.put_object(Bucket=server.bucket, Key="sha256/b", Body=b"bytes")
    assert _code(refused) == "AccessDenied"


@pytest.mark.asyncio(loop_scope="module")
async def test_the_runner_reads_and_cannot_write(server: S3) -> None:
    async with _client(server, server.gateway) as client:
        await client.put_object(Bucket=server.bucket, Key="sha256/c", Body=b"bytes")
    async with _client(server, server.runner) as client:
        answer = await client.get_object(Bucket=server.bucket, Key="sha256/c")
        assert await answer["Body"].read() == b"bytes"
        with pytest.raises(ClientError) as missing:
            await client.get_object(Bucket=server.bucket, Key="sha256/none")
        assert _code(missing) == "NoSuchKey"
        for key in ("sha256/c", "aot/engine/x.cwasm.zst"):
            with pytest.raises(ClientError) as refused:
                await client.put_object(Bucket=server.bucket, Key=key, Body=b"evil")
            assert _code(refused) == "AccessDenied"


async def test_objects_outlive_a_kill(tmp_path: Path, gone: Callable[[int], Awaitable[None]]) -> None:
    place = tmp_path / "s3"
    async with s3(place) as first:
        async with _client(first, first.gateway) as client:
            await client.put_object(Bucket=first.bucket, Key="sha256/kept", Body=b"bytes")
        os.kill(first.pid, signal.SIGKILL)
        assert await first.child.exited() == -signal.SIGKILL
    async with s3(place, keep=False) as again, _client(again, again.gateway) as client:
        answer = await client.get_object(Bucket=again.bucket, Key="sha256/kept")
        assert await answer["Body"].read() == b"bytes"
    await gone(again.pid)
    assert not place.exists()
