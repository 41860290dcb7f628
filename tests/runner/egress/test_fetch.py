"""A granted fetch: what reaches the upstream, what comes back, and what is told about it."""

from __future__ import annotations

import gzip
import zlib

import pytest

from runner.egress.http1 import Answer
from tests.runner.egress.certificates import Authority
from tests.runner.egress.names import Names
from tests.runner.egress.outside import outside, private
from tests.runner.egress.upstream import Upstream, always, answer

API = "api.example.com"


async def test_a_granted_host_is_asked_and_its_answer_returned() -> None:
    async with (
        Upstream(always(answer(b"hi", 201, (("X-One", "1"), ("x-one", "2"))))) as up,
        outside(private=private(f"up.localhost:{up.port}")) as out,
    ):
        got = await out.get(f"http://up.localhost:{up.port}/a/../b?q=%zz", ("X-A", " ä "), ("Accept", "text/plain"))
    assert got == Answer(201, (("x-one", "1"), ("x-one", "2"), ("content-length", "2")), b"hi")
    (request,) = up.requests
    assert request.line == "GET /a/../b?q=%zz HTTP/1.1"
    assert request.headers == (
        ("host", f"up.localhost:{up.port}"),
        ("x-a", "ä"),
        ("accept", "text/plain"),
        ("user-agent", "alga-extensions"),
        ("accept-encoding", "gzip"),
    )
    assert out.metrics.seen == {("allowed", "granted"): 1}
    assert out.told.messages == []


@pytest.mark.parametrize("path", ["", "?", "/x?", "//x", "/./a//../b", "/%2e%2E/%00", "/a;b=c,d?e=f&&g#fragment"])
async def test_the_path_goes_out_byte_for_byte(path: str) -> None:
    async with Upstream() as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        await out.get(f"http://up.localhost:{up.port}{path}", grant=f"http://up.localhost:{up.port}")
    expected = path.partition("#")[0]
    assert up.requests[0].line == f"GET {expected if expected.startswith('/') else '/' + expected} HTTP/1.1"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("body", [b"", b"\0payload"])
async def test_each_method_goes_out_with_its_body_and_its_length(method: str, body: bytes) -> None:
    reply = answer(b"" if method == "HEAD" else b"x")
    async with Upstream(always(reply)) as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        got = await out.fetches(f"http://up.localhost:{up.port}").fetch(
            method, f"http://up.localhost:{up.port}/", [], body
        )
    assert isinstance(got, Answer)
    (request,) = up.requests
    assert (request.line.split()[0], request.body) == (method, body)
    expected = str(len(body)) if body or method in ("POST", "PUT", "PATCH") else None
    assert request.header("content-length") == expected


async def test_https_is_checked_against_the_name_and_goes_to_the_address_dns_gave(authority: Authority) -> None:
    async with (
        Names({API: "127.0.0.1"}) as names,
        Upstream(tls=authority.serving(API)) as up,
        outside(private=private(f"{API}:{up.port}"), name_servers=(names.server,), ca=authority.pem) as out,
    ):
        got = await out.get(f"https://{API}:{up.port}/")
    assert isinstance(got, Answer)
    assert up.requests[0].header("host") == f"{API}:{up.port}"
    assert names.asked[API] == {"A": 1, "AAAA": 1}


@pytest.mark.parametrize(("name", "trusted"), [("other.example.com", True), (API, False)])
async def test_a_certificate_of_another_name_or_of_nobody_known_is_refused(
    authority: Authority, name: str, trusted: bool
) -> None:
    async with (
        Names({API: "127.0.0.1"}) as names,
        Upstream(tls=authority.serving(name)) as up,
        outside(
            private=private(f"{API}:{up.port}"),
            name_servers=(names.server,),
            ca=authority.pem if trusted else "",
        ) as out,
    ):
        assert await out.get(f"https://{API}:{up.port}/") == "transport"
    assert up.requests == []
    assert "certificate is not accepted" in out.told.messages[0]
    assert out.metrics.seen["failed", "tls"] == 1


async def test_a_second_address_is_tried_when_the_first_does_not_answer() -> None:
    async with (
        Upstream() as up,
        Names({API: "::1 127.0.0.1"}) as names,  # nobody listens on IPv6
        outside(private=private(f"{API}:{up.port}"), name_servers=(names.server,)) as out,
    ):
        assert isinstance(await out.get(f"http://{API}:{up.port}/"), Answer)


@pytest.mark.parametrize("encode", [gzip.compress, zlib.compress, lambda data: zlib.compress(data)[2:-4]])
async def test_a_coded_answer_arrives_decoded_and_without_the_headers_that_were_about_the_coding(encode) -> None:
    coding = "gzip" if encode is gzip.compress else "deflate"
    body = b"a document\n" * 100_000
    reply = answer(encode(body), 200, (("Content-Encoding", coding), ("ETag", '"1"')))
    async with Upstream(always(reply)) as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        assert await out.get(f"http://up.localhost:{up.port}/") == Answer(200, (("etag", '"1"'),), body)


async def test_headers_of_the_connection_stay_between_upstream_and_platform() -> None:
    headers = (("Connection", "close, X-Hop"), ("X-Hop", "1"), ("Keep-Alive", "timeout=5"), ("Set-Cookie", "a=b"))
    async with (
        Upstream(always(answer(b"", 200, headers), goes_on=False)) as up,
        outside(private=private(f"up.localhost:{up.port}")) as out,
    ):
        got = await out.get(f"http://up.localhost:{up.port}/")
    assert isinstance(got, Answer)
    assert got.headers == (("set-cookie", "a=b"), ("content-length", "0"))


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: 1\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabcde",
        b"HTTP/1.0 200 OK\r\n\r\nabcde",
    ],
)
async def test_every_framing_of_http_1_is_read(reply: bytes) -> None:
    async with (
        Upstream(always(reply, goes_on=False)) as up,
        outside(private=private(f"up.localhost:{up.port}")) as out,
    ):
        got = await out.get(f"http://up.localhost:{up.port}/")
    assert isinstance(got, Answer)
    assert (got.status, got.body) == (200, b"abcde")


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcde",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc",
        b"SSH-2.0-OpenSSH\r\n",
        b"\x16\x03\x01\x00",
    ],
)
async def test_what_is_not_an_answer_is_transport_and_the_author_is_told(reply: bytes) -> None:
    async with (
        Upstream(always(reply, goes_on=False)) as up,
        outside(private=private(f"up.localhost:{up.port}")) as out,
    ):
        assert await out.get(f"http://up.localhost:{up.port}/") == "transport"
    assert out.metrics.seen["failed", "broken"] == 1
    assert len(out.told.messages) == 1
    assert up.connections == 1  # and it is not asked again behind the guest's back


async def test_bytes_are_counted_in_both_directions_as_they_cross() -> None:
    reply = answer(gzip.compress(b"x" * 10_000), 200, (("content-encoding", "gzip"),))
    sizes: list[int] = []
    async with Upstream(always(reply)) as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        fetches = out.fetches(f"http://up.localhost:{up.port}", sizes=sizes)
        await fetches.fetch("POST", f"http://up.localhost:{up.port}/", [("x-a", "1")], b"payload")
    (request,) = up.requests
    head = "\r\n".join([request.line, *(f"{name}: {value}" for name, value in request.headers), "", ""])
    assert sum(sizes) == len(head) + len(request.body) + len(reply)
