"""A call takes the whole body, and notices when its client leaves."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from starlette.types import Message, Receive

from gateway.proxy import body
from gateway.proxy.body import ClientGoneError


def _receive(messages: Iterable[Message]) -> Receive:
    left = list(messages)

    async def receive() -> Message:
        return left.pop(0)

    return receive


def _chunk(data: bytes, more: bool) -> Message:
    return {"type": "http.request", "body": data, "more_body": more}


async def test_a_body_is_the_sum_of_its_chunks() -> None:
    assert await body.read(_receive([_chunk(b"a", True), _chunk(b"", True), _chunk(b"b", False)])) == b"ab"


async def test_an_empty_body_is_none() -> None:
    assert await body.read(_receive([_chunk(b"", False)])) is None


async def test_a_client_that_leaves_within_its_body_is_not_answered() -> None:
    with pytest.raises(ClientGoneError):
        await body.read(_receive([_chunk(b"a", True), {"type": "http.disconnect"}]))


async def test_gone_waits_through_late_chunks_for_the_disconnect() -> None:
    await body.gone(_receive([_chunk(b"", False), {"type": "http.disconnect"}]))
