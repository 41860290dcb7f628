"""Calls an ASGI application in this process, without a network, and keeps what it sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec
from starlette.types import ASGIApp, Message


class Answer(msgspec.Struct, frozen=True):
    """What came back. `ended` is false when the application stopped in the middle."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    ended: bool = True

    def header(self, name: str) -> str | None:
        return next((value.decode() for key, value in self.headers if key.decode().lower() == name), None)

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Client:
    """Sends requests to one application."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str] | None = None) -> None:
        self._app = app
        self._headers = dict(headers or {})

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.request("GET", path, headers=headers)

    async def post(self, path: str, body: Any = None) -> Answer:
        return await self.send_json("POST", path, body)

    async def put(self, path: str, body: Any) -> Answer:
        return await self.send_json("PUT", path, body)

    async def delete(self, path: str) -> Answer:
        return await self.request("DELETE", path)

    async def send_json(self, method: str, path: str, body: Any) -> Answer:
        data = b"" if body is None else msgspec.json.encode(body)
        return await self.request(method, path, headers={"content-type": "application/json"}, body=data)

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | Sequence[tuple[bytes, bytes]] | None = None,
        body: bytes | AsyncIterator[bytes] = b"",
    ) -> Answer:
        target, _, query = path.partition("?")
        if headers is None or isinstance(headers, Mapping):
            headers = [
                (k.replace("_", "-").encode(), v.encode()) for k, v in (self._headers | dict(headers or {})).items()
            ]
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": target,
            "raw_path": target.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "scheme": "http",
            "headers": list(headers),
            "state": {},
        }
        sent: list[Message] = []
        messages = _messages(body)

        async def receive() -> Message:
            return await anext(messages)

        async def send(message: Message) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        start = next(message for message in sent if message["type"] == "http.response.start")
        parts = [message for message in sent if message["type"] == "http.response.body"]
        return Answer(
            start["status"],
            start["headers"],
            b"".join(part.get("body", b"") for part in parts),
            bool(parts) and not parts[-1].get("more_body", False),
        )


async def _messages(body: bytes | AsyncIterator[bytes]) -> AsyncIterator[Message]:
    if isinstance(body, bytes):
        yield {"type": "http.request", "body": body, "more_body": False}
    else:
        async for chunk in body:
            yield {"type": "http.request", "body": chunk, "more_body": True}
        yield {"type": "http.request", "body": b"", "more_body": False}
    await asyncio.Event().wait()  # a client that stays
