"""The gateway's REST API as the stack uses it, and the readiness pages of the services."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, TypeVar

import aiohttp
import msgspec

from deploy.local.failures import StackError

T = TypeVar("T")

CALL_MAX_S: Final = 150.0  # `finalize` waits 100 s for a compilation on a busy machine, after what was before it
READY_CALL_MAX_S: Final = 5.0


class Problem(msgspec.Struct, frozen=True):
    """What the gateway says when it refuses (RFC 9457); only what is shown or decided on."""

    code: str = ""
    detail: str = ""


class RefusedError(StackError):
    """The gateway refused a call. `code` is the wire code, `status` the HTTP status."""

    def __init__(self, call: str, status: int, problem: Problem) -> None:
        super().__init__(f"{call} was answered with {status} {problem.code}: {problem.detail}")
        self.status = status
        self.code = problem.code


class Rest:
    """Calls with one credential. Made by `connected`."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str, token: str) -> None:
        self._session = session
        self._base_url = base_url
        self._headers = {"authorization": f"Bearer {token}"}

    def acting_as(self, token: str) -> Rest:
        """The same connection with another credential."""
        return Rest(self._session, self._base_url, token)

    async def get(self, path: str, kind: type[T]) -> T:
        """The answer of `GET path`. Raises `RefusedError`."""
        return await self._call("GET", path, kind, None, "application/json")

    async def post(self, path: str, body: msgspec.Struct, kind: type[T]) -> T:
        """The answer of `POST path` with a JSON body. Raises `RefusedError`."""
        return await self._call("POST", path, kind, msgspec.json.encode(body), "application/json")

    async def delete(self, path: str, kind: type[T]) -> T:
        """The answer of `DELETE path`. Raises `RefusedError`."""
        return await self._call("DELETE", path, kind, None, "application/json")

    async def upload(self, path: str, file: Path, kind: type[T]) -> T:
        """The answer of `POST path` with the bytes of `file`. Raises `RefusedError`."""
        data = io.BytesIO(await asyncio.to_thread(file.read_bytes))  # aiohttp sends a stream in pieces
        return await self._call("POST", path, kind, data, "application/octet-stream")

    async def _call(
        self, method: str, path: str, kind: type[T], data: bytes | io.BytesIO | None, content_type: str
    ) -> T:
        call = f"{method} {path}"
        headers = {**self._headers, "content-type": content_type} if data is not None else self._headers
        try:
            async with (
                asyncio.timeout(CALL_MAX_S),
                self._session.request(method, f"{self._base_url}{path}", data=data, headers=headers) as answer,
            ):
                body = await answer.read()
                status = answer.status
        except (aiohttp.ClientError, TimeoutError) as error:
            raise StackError(f"{call} got no answer: {error!r}") from error
        if status >= 300:
            raise RefusedError(call, status, _problem(body))
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.MsgspecError as error:
            raise StackError(f"{call} was answered with something unexpected: {error}") from error


@contextlib.asynccontextmanager
async def connected(base_url: str, token: str) -> AsyncIterator[Rest]:
    """A connection to the gateway at `base_url` with the bearer `token`."""
    async with aiohttp.ClientSession(trust_env=False) as session:
        yield Rest(session, base_url, token)


async def answers(url: str) -> bool:
    """Whether `GET url` is answered with 200; a closed port is a no."""
    status, _ = await page(url)
    return status == 200


async def page(url: str) -> tuple[int, str]:
    """Status and text of `GET url`; status 0 and the reason when nobody answers."""
    try:
        async with (
            asyncio.timeout(READY_CALL_MAX_S),
            aiohttp.ClientSession(trust_env=False) as session,
            session.get(url) as answer,
        ):
            return answer.status, await answer.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        return 0, str(error) or "no answer"


def _problem(body: bytes) -> Problem:
    try:
        return msgspec.json.decode(body, type=Problem)
    except msgspec.MsgspecError:
        return Problem(detail=body[:200].decode("utf-8", "replace"))
