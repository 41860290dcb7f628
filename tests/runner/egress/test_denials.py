"""What is denied, and who is told what: the guest a word, the author an entry, the operator a line and a count."""

from __future__ import annotations

from typing import Any

import pytest
import structlog

from runner.egress.fetch import grants
from runner.egress.http1 import Answer
from runner.egress.report import Caller, DeniedTarget, DeniedTargets
from shared.egress import parse_fence
from shared.limits import (
    EGRESS_DENIED_INSTALLS_MAX_COUNT,
    EGRESS_DENIED_TARGETS_MAX_COUNT,
    EGRESS_REQUEST_MAX_BYTES,
)
from tests.runner.egress.names import Names
from tests.runner.egress.outside import CALLER, outside, private
from tests.runner.egress.upstream import Upstream, redirecting


def at(upstream: Upstream) -> str:
    return f"http://up.localhost:{upstream.port}"


async def test_what_is_not_granted_is_denied_with_the_entry_that_would_allow_it() -> None:
    async with Upstream() as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        assert await out.get(at(up), grant="https://api.example.com") == "not-allowed"
    assert up.connections == 0
    assert out.told.incidents == ["egress_denied"]
    assert f'"{at(up)}" in its egress list would allow it' in out.told.messages[0]
    assert out.metrics.seen == {("denied", "not-granted"): 1}


async def test_an_install_without_entries_reaches_nothing() -> None:
    async with Upstream() as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        assert await out.fetches().fetch("GET", at(up), [], b"") == "not-allowed"
    assert up.connections == 0


@pytest.mark.parametrize(("fence", "passes"), [(None, True), ("", False), ("up.localhost", False), ("{at}", True)])
async def test_a_granted_host_must_lie_inside_the_fence_and_an_empty_fence_holds_nothing(fence, passes: bool) -> None:
    async with Upstream() as up:
        entries = None if fence is None else parse_fence(fence.format(at=at(up)))
        async with outside(private=private(f"up.localhost:{up.port}"), fence=entries) as out:
            got = await out.get(at(up))
    assert isinstance(got, Answer) is passes
    assert up.connections == int(passes)
    if not passes:
        assert "EXT_EGRESS_ALLOWLIST would allow it" in out.told.messages[0]
        assert out.metrics.seen == {("denied", "outside-fence"): 1}


async def test_observe_mode_lets_pass_what_the_allowlist_denies_and_records_it() -> None:
    async with Upstream() as up:
        fence = parse_fence("https://api.example.com")
        async with outside(private=private(f"up.localhost:{up.port}"), fence=fence, observe=True) as out:
            assert isinstance(await out.get(at(up), grant="https://other.example"), Answer)
    assert out.told.incidents == ["egress_observed"]
    assert f'"{at(up)}" in its egress list would allow it' in out.told.messages[0]
    assert out.metrics.seen == {("observed", "not-granted"): 1}


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://169.254.169.254/", "not-allowed"),
        ("https://inside.example.com/", "not-allowed"),
        ("http://a@b.example/", "invalid-url"),
    ],
)
async def test_observe_mode_lets_nothing_else_pass(url: str, word: str) -> None:
    async with (
        Names({"inside.example.com": "10.0.0.5"}) as names,
        outside(observe=True, name_servers=(names.server,)) as out,
    ):
        assert await out.get(url, grant="https://other.example") == word
    assert ("allowed", "granted") not in out.metrics.seen


async def test_a_name_that_is_exempted_on_one_port_is_not_on_another() -> None:
    async with (
        Upstream() as up,
        Upstream() as other,
        outside(private=private(f"up.localhost:{up.port}")) as out,
    ):
        assert await out.get(f"http://up.localhost:{other.port}/") == "not-allowed"
    assert other.connections == 0
    assert out.metrics.seen["denied", "ip-denied"] == 1


@pytest.mark.parametrize("extra", [-1, 0, 1])
async def test_a_request_body_below_at_and_above_the_limit(extra: int) -> None:
    body = b"x" * (EGRESS_REQUEST_MAX_BYTES + extra)
    async with Upstream() as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        got = await out.fetches(at(up)).fetch("POST", at(up), [], body)
    if extra > 0:
        assert (got, up.connections) == ("transport", 0)
        assert out.metrics.seen == {("failed", "request-too-large"): 1}
    else:
        assert isinstance(got, Answer)
        assert up.requests[0].body == body


async def test_each_decision_is_one_line_with_whose_it_was_and_neither_path_nor_query() -> None:
    async with Upstream() as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        with structlog.testing.capture_logs() as lines:
            await out.get(at(up) + "/canary?canary")
            await out.get("https://api.example.com/canary?canary", grant="https://other.example")
    allowed, denied = lines
    whose = {"tenant": "acme", "extension": "extension", "install": "install", "request_id": "r-1"}
    assert allowed == {
        **whose,
        "event": "egress_allowed",
        "log_level": "info",
        "host": at(up),
        "verdict": "allowed",
        "reason": "granted",
    }
    assert denied.pop("detail").startswith("https://api.example.com is not granted")
    assert denied == {
        **whose,
        "event": "egress_denied",
        "log_level": "warning",
        "host": "https://api.example.com",
        "verdict": "denied",
        "reason": "not-granted",
        "times": 1,
    }
    assert "canary" not in repr(lines) + repr(out.told.messages)


async def test_the_operator_may_know_what_a_name_leads_to_and_the_author_may_not() -> None:
    async with (
        Names({"inside.example.com": "10.0.0.5"}) as names,
        outside(name_servers=(names.server,)) as out,
    ):
        with structlog.testing.capture_logs() as lines:
            assert await out.get("https://inside.example.com/") == "not-allowed"
    assert "10.0.0.5 is private" in lines[-1]["detail"]
    assert "10.0.0.5" not in repr(out.told.messages)


def test_a_grant_outside_the_grammar_never_matches_and_the_others_do() -> None:
    assert list(map(str, grants(("*.com", "https://a.example", "10.0.0.1"), frozenset()))) == ["https://a.example"]


# ---- counts for an administrator ------------------------------------------------------------------------------


async def test_each_denied_origin_is_told_with_whether_an_entry_would_allow_it() -> None:
    async with Upstream() as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        for _ in range(2):
            await out.get(at(up) + "/canary?canary", grant="https://other.example")
        await out.get("http://10.0.0.1/")
        await out.fetches(at(up)).fetch("TRACE", at(up), [], b"")
    assert out.told.targets == {
        (at(up), "not-granted", True, False): 2,
        ("http://10.0.0.1", "ip-denied", False, False): 1,
        (at(up), "method-denied", False, False): 1,
    }


async def test_what_is_observed_is_told_as_such_and_what_is_no_origin_or_was_allowed_is_not() -> None:
    async with Upstream() as up, outside(private=private(f"up.localhost:{up.port}"), observe=True) as out:
        assert isinstance(await out.get(at(up), grant="https://other.example"), Answer)
        assert isinstance(await out.get(at(up)), Answer)
        assert await out.get("no url", grant="https://other.example") == "invalid-url"
    assert out.told.targets == {(at(up), "not-granted", True, True): 1}


async def test_a_redirect_to_where_an_install_may_not_go_is_told_as_that_place() -> None:
    async with (
        Upstream(redirecting(lambda _: "https://elsewhere.example/x")) as up,
        outside(private=private(f"up.localhost:{up.port}")) as out,
    ):
        assert await out.get(at(up), ("x-ext-follow-redirects", "1")) == "not-allowed"
    assert out.told.targets == {("https://elsewhere.example", "redirect-denied", True, False): 1}


def test_denials_are_counted_by_install_and_target() -> None:
    denied = DeniedTargets()
    other = Caller("globex", "extension", "other", "r")
    assert [denied.add(CALLER, "https://a.example", "not-granted") for _ in range(3)] == [1, 2, 3]
    assert denied.add(other, "https://a.example", "not-granted") == 1
    denied.add(CALLER, "https://b.example", "ip-denied")
    assert denied.of("acme", "install") == (
        DeniedTarget("https://a.example", "not-granted", 3),
        DeniedTarget("https://b.example", "ip-denied", 1),
    )
    assert denied.of("acme", "other") == ()


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_an_install_that_is_denied_everything_is_counted_within_bounds(extra: int) -> None:
    denied = DeniedTargets()
    for number in range(EGRESS_DENIED_TARGETS_MAX_COUNT + extra):
        denied.add(CALLER, f"https://{number}.example", "not-granted")
    kept = denied.of("acme", "install")
    assert len(kept) == min(EGRESS_DENIED_TARGETS_MAX_COUNT, EGRESS_DENIED_TARGETS_MAX_COUNT + extra)
    assert kept[0].target == f"https://{max(0, extra)}.example"  # the oldest is forgotten


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_many_installs_are_counted_within_bounds(extra: int) -> None:
    denied: Any = DeniedTargets()
    for number in range(EGRESS_DENIED_INSTALLS_MAX_COUNT + extra):
        denied.add(Caller("acme", "extension", str(number), "r"), "https://a.example", "not-granted")
    assert bool(denied.of("acme", "0")) is (extra <= 0)
    assert denied.of("acme", str(EGRESS_DENIED_INSTALLS_MAX_COUNT + extra - 1))
