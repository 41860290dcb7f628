"""The gateway's REST API as a command uses it: one credential, a deadline on every call, refusals with their code.

A redirect is never followed, since it would carry the credential to wherever it points; proxies of the environment
are not used for this machine's own addresses.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
import msgspec
from yarl import URL

from gateway.cli.access import Target, is_loopback
from gateway.cli.failures import CliError, from_problem
from shared.limits import CLI_ANSWER_MAX_BYTES, CLI_CALL_MAX_S, CLI_CONNECT_MAX_S, UPLOAD_MAX_S

T = TypeVar("T")

JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"  # RFC 9457
_PIECE_BYTES: Final = 256 * 1024  # of an upload: progress moves, and memory stays flat


class Answer(msgspec.Struct, frozen=True):
    """What came back; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        """The content type without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def refusal(self) -> bool:
        """Whether the platform, and not an extension, answered with an error."""
        return self.status >= 400 and self.media_type == PROBLEM


class _Problem(msgspec.Struct, frozen=True):
    """The members of a problem that are always there."""

    code: str = "bad_gateway"
    detail: str = ""
    title: str = ""
    request_id: str = ""


class RefusedError(CliError):
    """The gateway refused a call.

    Args:
        said: what it said, as an error of the command line.
        status: of HTTP.
        retry_after_s: seconds it asked to wait, 0 when it did not.
    """

    def __init__(self, said: CliError, *, status: int, retry_after_s: float) -> None:
        super().__init__(
            said.what,
            next_step=said.next_step,
            code=said.code,
            exit_status=said.exit_status,
            details=said.details,
            members={**said.members, "status": status},
        )
        self.status = status
        self.retry_after_s = retry_after_s


def unreachable(url: str, reason: object) -> CliError:
    """Nobody answers at `url`."""
    return CliError(
        f"the gateway at {url} does not answer: {reason}",
        next_step="check the address and that it runs; for a local stack: make run",
        code="cli_unreachable",
    )


def refused(answer: Answer, call: str) -> RefusedError:
    """The error in an answer with a status that is none of success."""
    try:
        problem = msgspec.json.decode(answer.body, type=_Problem)
        members = msgspec.json.decode(answer.body, type=dict[str, Any])
    except msgspec.MsgspecError:
        problem, members = _Problem(detail="the answer is not the platform's; is this the gateway's address?"), {}
    told = problem.detail or problem.title or f"status {answer.status}"
    said = from_problem(problem.code, f"{call}: {answer.status} {problem.code}: {told}", members)
    waited = answer.headers.get("retry-after", "")
    return RefusedError(said, status=answer.status, retry_after_s=float(waited) if waited.isdecimal() else 0)


class Gateway:
    """Calls with one credential. Made by `connected`.

    Args:
        session: the connections.
        target: which gateway, and who calls.
    """

    def __init__(self, session: aiohttp.ClientSession, target: Target) -> None:
        self._session = session
        self.target = target
        self._credential = {"authorization": f"Bearer {target.token}"}

    async def get(self, path: str) -> Answer:
        """`GET path`. Raises `RefusedError`, `CliError`."""
        return _successful(await self.call("GET", path), f"GET {path}")

    async def post(self, path: str, body: msgspec.Struct | None = None) -> Answer:
        """`POST path` with a JSON body, an empty object by default. Raises `RefusedError`, `CliError`."""
        data = b"{}" if body is None else msgspec.json.encode(body)
        return _successful(await self.call("POST", path, headers={"content-type": JSON}, data=data), f"POST {path}")

    async def put(self, path: str, body: msgspec.Struct | Mapping[str, Any]) -> Answer:
        """`PUT path` with a JSON body. Raises `RefusedError`, `CliError`."""
        data = msgspec.json.encode(body)
        return _successful(await self.call("PUT", path, headers={"content-type": JSON}, data=data), f"PUT {path}")

    async def delete(self, path: str) -> Answer:
        """`DELETE path`. Raises `RefusedError`, `CliError`."""
        return _successful(await self.call("DELETE", path), f"DELETE {path}")

    async def upload(self, path: str, file: Path, sent: Callable[[int], None]) -> Answer:
        """`POST path` with the bytes of `file`; `sent` is told of each piece. Raises `RefusedError`, `CliError`."""

        async def pieces() -> AsyncIterator[bytes]:
            with file.open("rb") as source:
                while piece := await asyncio.to_thread(source.read, _PIECE_BYTES):
                    yield piece
                    sent(len(piece))

        size = (await asyncio.to_thread(file.stat)).st_size
        headers = {"content-type": "application/octet-stream", "content-length": str(size)}
        answer = await self.call("POST", path, headers=headers, data=pieces(), within_s=UPLOAD_MAX_S)
        return _successful(answer, f"POST {path}")

    async def call(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | AsyncIterator[bytes] | None = None,
        within_s: float = CLI_CALL_MAX_S,
    ) -> Answer:
        """Any request, any answer.

        Args:
            path: path and query, sent byte for byte.
            headers: besides the credential, which they cannot replace.
            within_s: seconds until the whole answer is there.

        Raises:
            CliError: nobody answers, not in time, or with more than `CLI_ANSWER_MAX_BYTES`.
        """
        return await self._answered(method, path, {**(headers or {}), **self._credential}, data, within_s)

    async def _answered(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        data: bytes | AsyncIterator[bytes] | None,
        within_s: float,
    ) -> Answer:
        try:
            async with asyncio.timeout(within_s), self._request(method, path, headers, data) as answer:
                body = bytearray()
                async for piece in answer.content.iter_any():
                    body += piece
                    if len(body) > CLI_ANSWER_MAX_BYTES:
                        raise unreachable(self.target.url, f"its answer has more than {CLI_ANSWER_MAX_BYTES} bytes")
                return Answer(answer.status, _headers(answer), bytes(body))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unreachable(self.target.url, _reason(error)) from error

    async def pass_on(
        self, method: str, path: str, headers: Mapping[str, str], data: bytes | None, *, within_s: float
    ) -> Answer:
        """A request of somebody else, with the credential among its `headers` and not ours. Raises `CliError` as `call`."""
        return await self._answered(method, path, headers, data, within_s)

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, headers: Mapping[str, str], silent_max_s: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The body of `GET path`, piece by piece, for as long as it lasts.

        Args:
            silent_max_s: how long nothing may come before the connection counts as lost.

        Raises:
            RefusedError: the gateway refused.
            CliError: nobody answers, or the connection was lost.
        """
        async with contextlib.AsyncExitStack() as held:
            try:
                async with asyncio.timeout(CLI_CONNECT_MAX_S):
                    answer = await held.enter_async_context(self._request("GET", path, {**headers, **self._credential}))
                    body = b"" if answer.status == 200 else await answer.content.read(CLI_ANSWER_MAX_BYTES)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise unreachable(self.target.url, _reason(error)) from error
            if answer.status != 200:
                raise refused(Answer(answer.status, _headers(answer), body), f"GET {path}")
            yield self._pieces(answer, silent_max_s)

    async def _pieces(self, answer: aiohttp.ClientResponse, silent_max_s: float) -> AsyncIterator[bytes]:
        while True:
            try:
                async with asyncio.timeout(silent_max_s):
                    piece = await answer.content.readany()
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise unreachable(self.target.url, _reason(error)) from error
            if not piece:
                return
            yield piece

    def _request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        data: bytes | AsyncIterator[bytes] | None = None,
    ) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]:
        url = URL(f"{self.target.url}{path}", encoded=True)
        body = io.BytesIO(data) if isinstance(data, bytes) else data  # aiohttp sends a stream in pieces
        return self._session.request(method, url, headers=headers, data=body, allow_redirects=False)


@contextlib.asynccontextmanager
async def connected(target: Target) -> AsyncIterator[Gateway]:
    """Connections to the gateway of `target`, closed at the end."""
    url = URL(target.url)
    timeout = aiohttp.ClientTimeout(total=None, connect=CLI_CONNECT_MAX_S)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=not is_loopback(url.host or "")) as session:
        yield Gateway(session, target)


def decoded(answer: Answer, kind: type[T]) -> T:
    """The body as `kind`. Raises `CliError` when the gateway speaks of something else."""
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except msgspec.MsgspecError as error:
        raise CliError(
            f"the gateway's answer is not what this release expects: {error}",
            next_step="compare the versions: alga-ext --version and the gateway's release",
            code="cli_unexpected_answer",
        ) from error


def _successful(answer: Answer, call: str) -> Answer:
    if not 200 <= answer.status < 300:
        raise refused(answer, call)
    return answer


def _headers(answer: aiohttp.ClientResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in answer.headers.items()}


def _reason(error: BaseException) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
