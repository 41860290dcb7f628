"""Limits of an answer's form: its headers, its interim answers, its chunks."""

from __future__ import annotations

import pytest

from runner.egress.http1 import Answer
from shared.limits import (
    EGRESS_CHUNKS_MAX_COUNT,
    EGRESS_HEADER_BLOCK_MAX_BYTES,
    EGRESS_INTERIM_MAX_COUNT,
    HEADERS_MAX_COUNT,
)
from tests.runner.egress.outside import Outside, outside, private
from tests.runner.egress.upstream import Upstream, always

OK = b"HTTP/1.1 200 X\r\n"


async def asked(*parts: bytes) -> tuple[Answer | str, Outside]:
    """The answer to one fetch from an upstream that sends these parts."""
    async with (
        Upstream(always(*parts, goes_on=False)) as up,
        outside(private=private(f"up.localhost:{up.port}")) as out,
    ):
        return await out.get(f"http://up.localhost:{up.port}/"), out


@pytest.mark.parametrize("extra", [-1, 0, 1])
@pytest.mark.parametrize("lines", [1, 100])
async def test_a_header_block_below_at_and_above_the_limit(extra: int, lines: int) -> None:
    size = EGRESS_HEADER_BLOCK_MAX_BYTES - len("content-length") - len("0") - 4 + extra
    each = size // lines - len("x-00") - 4
    block = b"".join(b"x-%02d: %s\r\n" % (number, b"v" * each) for number in range(lines - 1))
    last = size - (lines - 1) * (each + 8) - 8
    block += b"x-zz: " + b"v" * last + b"\r\n"
    got, out = await asked(OK, block, b"content-length: 0\r\n\r\n")
    if extra > 0:
        assert got == "transport"
        assert out.metrics.seen["failed", "headers-too-large"] == 1
    else:
        assert isinstance(got, Answer)
        assert len(got.headers) == lines + 1


@pytest.mark.parametrize("extra", [-1, 0, 1])
async def test_header_lines_below_at_and_above_the_limit(extra: int) -> None:
    got, out = await asked(OK, b"x: y\r\n" * (HEADERS_MAX_COUNT - 1 + extra), b"content-length: 0\r\n\r\n")
    assert isinstance(got, Answer) is (extra <= 0)
    assert out.metrics.seen["failed", "headers-too-large"] == int(extra > 0)


async def test_headers_without_end_are_read_no_further_than_the_limit() -> None:
    sizes: list[int] = []
    async with (
        Upstream(always(OK, *([b"x: " + b"y" * 65536] * 1000))) as up,
        outside(private=private(f"up.localhost:{up.port}")) as out,
    ):
        fetches = out.fetches(f"http://up.localhost:{up.port}", sizes=sizes)
        assert await fetches.fetch("GET", f"http://up.localhost:{up.port}/", [], b"") == "transport"
    assert out.metrics.seen["failed", "headers-too-large"] == 1
    assert sum(sizes) < 20 * EGRESS_HEADER_BLOCK_MAX_BYTES


@pytest.mark.parametrize("extra", [-1, 0, 1])
async def test_interim_answers_below_at_and_above_the_limit(extra: int) -> None:
    interim = b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n" * (EGRESS_INTERIM_MAX_COUNT + extra)
    got, _ = await asked(interim, OK, b"content-length: 1\r\n\r\nx")
    assert isinstance(got, Answer) is (extra <= 0)


@pytest.mark.parametrize("extra", [-1, 0, 1])
async def test_chunks_below_at_and_above_the_limit(extra: int, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 1000
    assert most < EGRESS_CHUNKS_MAX_COUNT
    monkeypatch.setattr("runner.egress.http1.EGRESS_CHUNKS_MAX_COUNT", most)
    chunks = b"1\r\nx\r\n" * (most - 1 + extra)  # the end is a piece, too
    got, out = await asked(OK + b"transfer-encoding: chunked\r\n\r\n", chunks, b"0\r\n\r\n")
    assert isinstance(got, Answer) is (extra <= 0)
    assert out.metrics.seen["failed", "broken"] == int(extra > 0)


async def test_a_protocol_switch_nobody_asked_for_is_no_answer() -> None:
    got, _ = await asked(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n")
    assert got == "transport"
