"""Redirects: not followed unless asked for, and then as the standard has it."""

from __future__ import annotations

import pytest

from runner.egress.http1 import Answer
from tests.runner.egress.outside import outside, private
from tests.runner.egress.upstream import Received, Upstream, always, answer, redirecting


def at(upstream: Upstream) -> str:
    return f"http://up.localhost:{upstream.port}"


def counting_down(received: Received) -> str | None:
    """`/3` leads to `/2` and so on; `/0` answers."""
    left = int(received.line.split()[1].strip("/") or 0)
    return f"/{left - 1}" if left else None


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_like_any_other_by_default(status: int) -> None:
    async with (
        Upstream(redirecting(lambda _: "/next", status)) as up,
        outside(private=private(f"up.localhost:{up.port}")) as out,
    ):
        got = await out.get(at(up))
    assert isinstance(got, Answer)
    assert (got.status, got.header("location"), len(up.requests)) == (status, "/next", 1)


@pytest.mark.parametrize("asked", range(6))
@pytest.mark.parametrize("hops", range(1, 7))
async def test_as_many_are_followed_as_the_guest_asks_for(asked: int, hops: int) -> None:
    async with Upstream(redirecting(counting_down)) as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        got = await out.get(f"{at(up)}/{hops}", ("x-ext-follow-redirects", str(asked)))
    if asked == 0:
        assert isinstance(got, Answer)
        assert (got.status, len(up.requests)) == (302, 1)
    elif hops <= asked:
        assert isinstance(got, Answer)
        assert (got.status, len(up.requests)) == (200, hops + 1)
    else:
        assert (got, len(up.requests)) == ("not-allowed", asked + 1)
        assert out.metrics.seen["denied", "redirect-denied"] == 1
    assert all(request.header("x-ext-follow-redirects") is None for request in up.requests)


@pytest.mark.parametrize(
    ("status", "method", "becomes"),
    [
        *[(status, "POST", "GET") for status in (301, 302, 303)],
        *[(status, "POST", "POST") for status in (307, 308)],
        (303, "PUT", "GET"),
        (302, "PUT", "PUT"),
        (303, "HEAD", "HEAD"),
        (302, "GET", "GET"),
    ],
)
async def test_method_and_body_change_as_the_standard_has_it(status: int, method: str, becomes: str) -> None:
    where = redirecting(lambda received: "/next" if received.line.split()[1] == "/" else None, status)
    body = b"" if method in ("GET", "HEAD") else b"payload"

    async def head(received: Received, writer) -> bool:
        writer.write(answer(b"", status if received.line.split()[1] == "/" else 200, (("location", "/next"),)))
        return True

    async with (
        Upstream(head if method == "HEAD" else where) as up,
        outside(private=private(f"up.localhost:{up.port}")) as out,
    ):
        headers = [("x-ext-follow-redirects", "1"), ("content-type", "text/plain"), ("x-kept", "1")]
        await out.fetches(at(up)).fetch(method, at(up), headers, body)
    first, second = up.requests
    assert (first.line.split()[0], first.body) == (method, body)
    assert second.line == f"{becomes} /next HTTP/1.1"
    kept = becomes == method
    assert second.body == (body if kept else b"")
    assert second.header("content-type") == ("text/plain" if kept else None)
    assert second.header("x-kept") == "1"


async def test_an_origin_differs_by_its_scheme_and_port_as_well_as_its_host() -> None:
    async with (
        Upstream() as other,
        Upstream(redirecting(lambda _: f"http://up.localhost:{other.port}/")) as up,
    ):
        exempt = private(f"up.localhost:{up.port}", f"up.localhost:{other.port}")
        async with outside(private=exempt) as out:
            fetches = out.fetches(at(up), f"http://up.localhost:{other.port}")
            headers = [("x-ext-follow-redirects", "1"), ("authorization", "a")]
            assert isinstance(await fetches.fetch("GET", at(up), headers, b""), Answer)
    assert other.requests[0].header("authorization") is None


@pytest.mark.parametrize("status", [300, 304, 305, 306])
async def test_other_statuses_of_the_kind_lead_nowhere(status: int) -> None:
    async with (
        Upstream(always(answer(b"", status, (("location", "/next"),)))) as up,
        outside(private=private(f"up.localhost:{up.port}")) as out,
    ):
        got = await out.get(at(up), ("x-ext-follow-redirects", "5"))
    assert isinstance(got, Answer)
    assert (got.status, len(up.requests)) == (status, 1)


async def test_a_redirect_without_a_location_is_an_answer() -> None:
    async with Upstream(always(answer(b"x", 302))) as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        got = await out.get(at(up), ("x-ext-follow-redirects", "5"))
    assert isinstance(got, Answer)
    assert (got.status, got.body) == (302, b"x")
