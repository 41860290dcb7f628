"""Threats T05 to T12 with real listeners: what is counted is who connected and what they sent."""

from __future__ import annotations

import asyncio
import gzip
import time
from pathlib import Path

import pytest

from runner.egress.http1 import Answer
from runner.egress.report import Caller
from shared.egress import Denied, Reason
from shared.egress_url import Target
from shared.limits import (
    EGRESS_CONCURRENT_MAX_COUNT,
    EGRESS_FETCHES_MAX_COUNT,
    EGRESS_RESPONSE_MAX_BYTES,
    MIB,
)
from tests.runner.egress.certificates import Authority
from tests.runner.egress.names import Names
from tests.runner.egress.outside import outside, private
from tests.runner.egress.upstream import Received, Upstream, always, answer, redirecting
from tests.runner.waiting import until

pytestmark = pytest.mark.security

GLOBEX = Caller("globex", "extension", "install", "r-2")
FOLLOW = ("x-ext-follow-redirects", "5")


def at(upstream: Upstream, name: str = "up.localhost") -> str:
    return f"http://{name}:{upstream.port}"


# ---- T05: redirects -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "location", ["//{other}/", "http://{other}/", "http://up.localhost@{other}/", "\\\\{other}/", "gopher://{other}/"]
)
async def test_t05_a_redirect_to_a_host_that_is_not_granted_contacts_one_host(location: str) -> None:
    async with Upstream() as other:
        where = location.format(other=f"other.localhost:{other.port}")
        async with (
            Upstream(redirecting(lambda _: where)) as up,
            outside(private=private(f"up.localhost:{up.port}", f"other.localhost:{other.port}")) as out,
        ):
            assert await out.get(at(up), FOLLOW) == "not-allowed"
    assert (up.connections, other.connections) == (1, 0)
    assert out.metrics.seen["denied", "redirect-denied"] == 1


# ---- T06: two parsers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["http://{up}\\@{evil}/", "http://{up}@{evil}/", "http://{up}#@{evil}/..@{evil}"])
async def test_t06_a_url_that_two_parsers_read_differently_never_reaches_the_other_host(url: str) -> None:
    async with Upstream() as up, Upstream() as evil:
        up_at, evil_at = f"up.localhost:{up.port}", f"evil.localhost:{evil.port}"
        async with outside(private=private(up_at, evil_at)) as out:
            got = await out.get(url.format(up=up_at, evil=evil_at), grant=f"http://{up_at}")
    assert evil.connections == 0
    if "#" in url:  # a fragment is nobody's business: one host, asked for "/"
        assert isinstance(got, Answer)
        assert up.requests[0].line == "GET / HTTP/1.1"
    else:
        assert (got, up.connections) == ("invalid-url", 0)


# ---- T07: the environment -------------------------------------------------------------------------------------


async def test_t07_proxy_variables_and_netrc_have_no_say(monkeypatch, tmp_path: Path, authority: Authority) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine api.example.com login canary password canary\ndefault login canary password canary\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))
    async with Upstream() as proxy, Upstream(tls=authority.serving("api.example.com")) as up:
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
        async with (
            Names({"api.example.com": "127.0.0.1"}) as names,
            outside(
                private=private(f"api.example.com:{up.port}"), name_servers=(names.server,), ca=authority.pem
            ) as out,
        ):
            assert isinstance(await out.get(f"https://api.example.com:{up.port}/"), Answer)
    assert (proxy.connections, up.connections) == (0, 1)
    assert up.requests[0].header("authorization") is None
    assert not (tmp_path / "keys").exists()


# ---- T08: line breaks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "header", "guest"),
    [
        ("GET", "/", ("X-A", "a\r\nX-Injected: 1"), "not-allowed"),
        ("GET", "/", ("X-A", "a\nX-Injected: 1"), "not-allowed"),
        ("GET", "/", ("X-A", "a\0"), "not-allowed"),
        ("GET", "/", ("X-A\r\nX-Injected", "1"), "not-allowed"),
        ("GET", "/", ("X-A: 1\r\nX-B", "1"), "not-allowed"),
        ("GET", "/a\r\nHost: x", None, "invalid-url"),
        ("GET", "/a\0", None, "invalid-url"),
        ("GET", "/a b", None, "invalid-url"),
        ("GET / HTTP/1.1\r\n", "/", None, "not-allowed"),
        ("CONNECT", "/", None, "not-allowed"),
        ("GET", "/", ("Host", "evil.example"), "not-allowed"),
        ("POST", "/", ("Transfer-Encoding", "chunked"), "not-allowed"),
        ("POST", "/", ("Content-Length", "0"), "not-allowed"),
        ("GET", "/", ("X-Alga-Tenant", "globex"), "not-allowed"),
    ],
)
async def test_t08_nothing_is_on_the_wire(method: str, path: str, header: tuple[str, str] | None, guest: str) -> None:
    async with Upstream() as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        headers = [] if header is None else [header]
        assert await out.fetches(at(up)).fetch(method, at(up) + path, headers, b"") == guest
    assert up.connections == 0
    assert out.told.incidents == ["egress_denied"]


# ---- T09: size ------------------------------------------------------------------------------------------------


def peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


async def test_t09_ten_mebibytes_that_become_ten_gibibytes_stop_at_the_limit() -> None:
    member = gzip.compress(bytes(10 * MIB), 9)  # RFC 1952 §2.2: as many members as one likes
    head = b"HTTP/1.1 200 X\r\ncontent-encoding: gzip\r\n\r\n"
    async with (
        Upstream(always(head, *([member] * 1024), goes_on=False)) as up,
        outside(private=private(f"up.localhost:{up.port}")) as out,
    ):
        forget_peak()
        before = peak_bytes()
        assert await out.get(at(up)) == "transport"
        assert peak_bytes() - before < 64 * MIB
        await until(lambda: up.open == 0)
    assert out.told.incidents == ["response_too_large"]
    assert out.metrics.seen["failed", "response-too-large"] == 1


@pytest.mark.parametrize(
    "values", [["gzip"] * 100, [", ".join(["gzip"] * 100)], ["gzip, gzip"], ["br"], ["gzip", "br"]]
)
async def test_t09_more_than_one_coding_or_an_unknown_one_is_not_undone(values: list[str]) -> None:
    headers = tuple(("Content-Encoding", value) for value in values)
    async with (
        Upstream(always(answer(gzip.compress(b"x"), 200, headers))) as up,
        outside(private=private(f"up.localhost:{up.port}")) as out,
    ):
        assert await out.get(at(up)) == "transport"
    assert out.metrics.seen["failed", "content-coding"] == 1


@pytest.mark.parametrize("extra", [-1, 0, 1])
@pytest.mark.parametrize("framing", ["length", "chunked", "close", "gzip"])
async def test_t09_an_answer_below_at_and_above_the_limit(extra: int, framing: str) -> None:
    body = b"x" * (EGRESS_RESPONSE_MAX_BYTES + extra)
    reply = {
        "length": lambda: answer(body),
        "chunked": lambda: (
            b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        ),
        "close": lambda: answer(body, length=False),
        "gzip": lambda: answer(gzip.compress(body, 1), 200, (("content-encoding", "gzip"),)),
    }[framing]()
    async with (
        Upstream(always(reply, goes_on=False)) as up,
        outside(private=private(f"up.localhost:{up.port}")) as out,
    ):
        got = await out.get(at(up))
    if extra > 0:
        assert got == "transport"
        assert out.told.incidents == ["response_too_large"]
    else:
        assert isinstance(got, Answer)
        assert got.body == body


# ---- T10: time ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 200 X\r\n", b"HTTP/1.1 200 X\r\ncontent-length: 3600\r\n\r\n"])
async def test_t10_a_byte_now_and_then_ends_at_the_deadline_with_the_connection(before: bytes) -> None:
    async def drip(_received: Received, writer) -> bool:
        writer.write(before)
        while not writer.is_closing():
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(0.02)
        return False

    async with Upstream(drip) as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        began = time.monotonic()
        assert await out.get(at(up), timeout_ms=300) == "transport"
        assert 0.25 < time.monotonic() - began < 5
        await until(lambda: up.open == 0)
    assert out.metrics.seen["failed", "timeout"] == 1


async def test_t10_slow_hops_share_one_deadline() -> None:
    async def slow(received: Received, writer) -> bool:
        await asyncio.sleep(0.2)
        writer.write(answer(b"", 302, (("location", "/again"),)))
        return True

    async with Upstream(slow) as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        assert await out.get(at(up), FOLLOW, timeout_ms=500) == "transport"
        await until(lambda: up.open == 0)
    assert 1 <= len(up.requests) <= 3
    assert out.metrics.seen["failed", "timeout"] == 1


# ---- T11: number ----------------------------------------------------------------------------------------------


async def test_t11_a_loop_of_ten_thousand_fetches_makes_fifty_requests() -> None:
    async with Upstream() as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        fetches = out.fetches(at(up))
        outcomes = [await fetches.fetch("GET", at(up), [], b"") for _ in range(10_000)]
    assert len(up.requests) == EGRESS_FETCHES_MAX_COUNT
    assert [one if isinstance(one, str) else one.status for one in outcomes] == [200] * 50 + ["not-allowed"] * 9_950
    assert out.metrics.seen["denied", "too-many"] == 9_950
    assert out.told.incidents == ["egress_denied"]  # told once, counted each time


async def test_t11_six_fetches_of_a_tenant_are_under_way_at_once_and_another_tenant_is_served() -> None:
    going = asyncio.Event()

    async def waits(_received: Received, writer) -> bool:
        await going.wait()
        writer.write(answer())
        return True

    async with Upstream(waits) as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        waiting = [asyncio.create_task(out.get(at(up))) for _ in range(EGRESS_CONCURRENT_MAX_COUNT)]
        await until(lambda: len(up.requests) == EGRESS_CONCURRENT_MAX_COUNT)
        assert await out.get(at(up)) == "not-allowed"
        assert len(up.requests) == EGRESS_CONCURRENT_MAX_COUNT
        assert out.metrics.seen["denied", "too-many-at-once"] == 1
        seventh = asyncio.create_task(out.get(at(up)))
        other = asyncio.create_task(out.get(at(up), caller=GLOBEX))
        await until(lambda: len(up.requests) == EGRESS_CONCURRENT_MAX_COUNT + 1)
        assert up.requests[-1].header("host") is not None
        going.set()
        answers = await asyncio.gather(*waiting, seventh, other)
    assert all(isinstance(one, Answer) for one in answers)  # the one that waited for its turn, too


# ---- T12: secrets ---------------------------------------------------------------------------------------------


class Bound:
    """Secrets of an install, each bound to one origin."""

    def __init__(self, **bound: tuple[str, str]) -> None:
        self._bound = bound

    async def inject(self, name: str, target: Target) -> str | Denied:
        value, origin = self._bound.get(name, ("", ""))
        if not value or origin != target.origin:
            return Denied(Reason.SECRET, f"secret {name!r} is not bound to {target.origin}")
        return value


async def test_t12_a_secret_reaches_the_host_it_is_bound_to() -> None:
    async with Upstream() as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        secrets = Bound(key=("canary-value", at(up)))
        got = await out.get(at(up), ("authorization", "Bearer {{secret:key}}"), secrets=secrets)
    assert isinstance(got, Answer)
    assert up.requests[0].header("authorization") == "Bearer canary-value"


async def test_t12_a_secret_for_another_host_is_not_expanded_and_nothing_is_sent() -> None:
    async with Upstream() as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        secrets = Bound(key=("canary-value", "https://api.example.com"))
        assert await out.get(at(up), ("x-key", "{{secret:key}}"), secrets=secrets) == "not-allowed"
    assert up.connections == 0
    assert out.metrics.seen["denied", "secret-denied"] == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_t12_a_redirect_to_another_origin_loses_secrets_and_credentials(status: int) -> None:
    async with (
        Upstream() as other,
        Upstream(redirecting(lambda _: at(other, "other.localhost") + "/?canary-value", status)) as up,
        outside(private=private(f"up.localhost:{up.port}", f"other.localhost:{other.port}")) as out,
    ):
        fetches = out.fetches(at(up), at(other, "other.localhost"), secrets=Bound(key=("canary-value", at(up))))
        headers = [
            FOLLOW,
            ("x-key", "{{secret:key}}"),
            ("authorization", "a"),
            ("cookie", "b"),
            ("x-kept", "c"),
        ]
        assert isinstance(await fetches.fetch("GET", at(up), headers, b""), Answer)
    (first,), (second,) = up.requests, other.requests
    assert [first.header(name) for name in ("x-key", "authorization", "cookie")] == ["canary-value", "a", "b"]
    assert [second.header(name) for name in ("x-key", "authorization", "cookie")] == [None] * 3
    assert second.header("x-kept") == "c"


async def test_t12_a_redirect_within_the_origin_keeps_them() -> None:
    where = redirecting(lambda received: "/next" if received.line.startswith("GET / ") else None)
    async with Upstream(where) as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        secrets = Bound(key=("canary-value", at(up)))
        got = await out.get(at(up) + "/", FOLLOW, ("x-key", "{{secret:key}}"), ("cookie", "b"), secrets=secrets)
    assert isinstance(got, Answer)
    assert [request.header("x-key") for request in up.requests] == ["canary-value"] * 2
    assert [request.header("cookie") for request in up.requests] == ["b"] * 2
