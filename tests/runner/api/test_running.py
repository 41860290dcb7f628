"""Calls under way: what the state feed says ends the ones it is about, at once, and leaves the others alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from runner.api.running import RunningCalls
from runner.sandbox.cpu_time import process_cpu_us
from shared import brakes, wire
from shared.brakes import Brake, CallFacts
from shared.deadline import Deadline
from shared.errors import AccessPolicyUnavailable, BundleUnavailable, PlatformError, Revoked
from shared.ids import ContentHash
from shared.limits import STATE_POLL_S
from shared.signing import BundleStatement
from shared.wire import StateEntry, StateKind
from tests.runner.api.door import HASH, INSTALL, VERSION, Feed, Runner
from tests.runner.sandbox.driving import until

OTHER_INSTALL = "44444444-4444-4444-8444-444444444444"
FACTS = CallFacts(
    tenant_id="acme",
    install_id=INSTALL,
    version_id=VERSION,
    content_hash=HASH,
    capabilities=frozenset({"cap:log.emit"}),
)


def entry(kind: StateKind, subject: str) -> StateEntry:
    return StateEntry(seq=1, kind=kind, subject=subject)


def revoke(feed: Feed) -> StateEntry:
    feed.revoked.add(VERSION)
    return entry("revoked_version", VERSION)


def disable(feed: Feed) -> StateEntry:
    feed.disabled.add(INSTALL)
    return entry("disabled_install", INSTALL)


def brake(subject: str) -> Callable[[Feed], StateEntry]:
    def pull(feed: Feed) -> StateEntry:
        feed.brakes.append(brakes.parse(subject))
        return entry("brake", subject)

    return pull


STOPS = {
    "revoked version": revoke,
    "disabled install": disable,
    "brake on all": brake("all"),
    "brake on the tenant": brake("tenant:acme"),
    "brake on the publisher": brake("publisher:alga"),
    "brake on a capability": brake("capability:cap:config.read"),
}


async def looping(runner: Runner, install: str = INSTALL) -> asyncio.Task[tuple[int, wire.ExecuteResponse]]:
    """A call whose guest runs for a long time, and runs now."""
    busy = sum(sandbox._result is not None for sandbox in runner.pool._all)
    task = asyncio.create_task(runner.call("/loop", install=install, limits=wire.Limits(timeout_ms=4_000)))
    await until(lambda: sum(sandbox._result is not None for sandbox in runner.pool._all) > busy)
    return task


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
async def test_a_running_call_ends_at_once_with_the_typed_error_and_what_it_used(
    runner: Runner, stop: Callable[[Feed], StateEntry]
) -> None:
    running = await looping(runner)
    (busy,) = [sandbox for sandbox in runner.pool._all if sandbox._result is not None]
    began = time.monotonic()
    runner.running.heard(stop(runner.feed))
    status, answer = await running
    assert time.monotonic() - began < 1
    assert answer.error is not None
    assert (status, answer.error.code, answer.error.blame, answer.error.started) == (403, "revoked", "host", True)
    assert answer.usage.duration_ms > 0
    await busy.wait_closed()
    assert busy not in runner.pool._all
    assert runner.sink.events[-1].data is not None
    assert runner.sink.events[-1].data["code"] == "revoked"
    status, answer = await runner.call()
    assert answer.error is not None
    assert (status, answer.error.code, answer.error.started) == (403, "revoked", False)


UNDONE = {name: stop for name, stop in STOPS.items() if name not in ("revoked version", "brake on the publisher")}


@pytest.mark.parametrize("stop", UNDONE.values(), ids=UNDONE)
async def test_a_call_is_not_refused_for_what_was_taken_back_since_the_last_poll(
    runner: Runner, stop: Callable[[Feed], StateEntry]
) -> None:
    stop(runner.feed)
    status, _ = await runner.call()
    assert (status, runner.feed.heard_again) == (403, 1)

    def take_back() -> None:
        runner.feed.disabled.clear()
        runner.feed.brakes.clear()

    runner.feed.news = take_back
    status, _ = await runner.call()
    assert (status, runner.feed.heard_again) == (200, 2)
    status, _ = await runner.call()
    assert (status, runner.feed.heard_again) == (200, 2)  # nobody asks for what nothing speaks against


async def test_a_feed_that_does_not_answer_keeps_no_call_beyond_its_deadline(runner: Runner) -> None:
    disable(runner.feed)
    held = asyncio.Event()

    async def never() -> None:
        await held.wait()

    runner.feed.again = never  # type: ignore[method-assign]
    status, answer = await runner.call(limits=wire.Limits(timeout_ms=100))
    assert answer.error is not None
    assert (status, answer.error.code) == (403, "revoked")


async def test_what_a_killed_call_used_is_in_its_answer(runner: Runner) -> None:
    running = await looping(runner)
    (busy,) = [sandbox for sandbox in runner.pool._all if sandbox._result is not None]
    await until(lambda: (process_cpu_us(busy.pid) or 0) > 80_000)
    runner.running.heard(revoke(runner.feed))
    _, answer = await running
    assert answer.usage.cpu_ms > 30
    assert runner.shares.used_us("acme") > 20_000  # halved every two seconds


async def test_calls_of_other_installs_go_on(runner: Runner) -> None:
    ours, theirs = await looping(runner), await looping(runner, OTHER_INSTALL)
    runner.running.heard(disable(runner.feed))
    _, answer = await ours
    assert answer.error is not None
    assert answer.error.code == "revoked"
    assert not theirs.done()
    _, answer = await theirs
    assert answer.error is not None
    assert answer.error.code == "guest_timeout"


async def test_a_call_that_waits_for_its_turn_ends_without_having_started(runner: Runner) -> None:
    running = [await looping(runner) for _ in range(2)]
    waiting = asyncio.create_task(runner.call("/echo"))
    await until(lambda: len(runner.running._calls) == 3)
    await until(lambda: runner.queue.waiting == 1)
    runner.running.heard(revoke(runner.feed))
    _, answer = await waiting
    assert answer.error is not None
    assert (answer.error.code, answer.error.started) == ("revoked", False)
    await asyncio.gather(*running)
    assert runner.queue.running == 0


async def test_entries_about_others_and_entries_that_stop_nobody_end_nothing(runner: Runner) -> None:
    running = await looping(runner)
    runner.feed.brakes.append(Brake("tenant", "globex"))
    for kind, subject in (
        ("revoked_version", OTHER_INSTALL),
        ("disabled_install", OTHER_INSTALL),
        ("enabled_install", INSTALL),
        ("brake", "tenant:globex"),
        ("ui_gone", "x/y"),
    ):
        runner.running.heard(entry(kind, subject))  # type: ignore[arg-type]
    assert not running.done()
    runner.running.heard(revoke(runner.feed))
    await running


async def test_what_ended_is_forgotten(runner: Runner) -> None:
    await runner.call()
    await runner.call("/trap")
    assert not runner.running._calls
    assert not runner.running._of_install
    assert not runner.running._of_version


# ---- silence --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stale", "refuse", "runs"), [(False, True, True), (True, False, True), (True, True, False)])
async def test_while_the_gateway_is_silent_calls_are_let_in_or_not_as_the_operator_decided(
    stale: bool, refuse: bool, runs: bool
) -> None:
    feed = Feed()
    feed.stale = stale
    calls = RunningCalls(feed, Trusted(None), refuse_stale=refuse)
    if runs:
        with calls.enter(FACTS):
            assert len(calls._calls) == 1
    else:
        with pytest.raises(AccessPolicyUnavailable) as refused, calls.enter(FACTS):
            raise AssertionError("it was let in")
        assert refused.value.retry_after_s == STATE_POLL_S
    assert not calls._calls


# ---- revoked keys -------------------------------------------------------------------------------------------


class Trusted:
    """Says what the test wants about every digest."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.asked: list[str] = []

    async def verified(self, content_hash: ContentHash, deadline: Deadline) -> BundleStatement:
        self.asked.append(content_hash)
        if self.error is not None:
            raise self.error
        return BundleStatement(
            content_hash=content_hash,
            name="a.b",
            publisher="alga",
            version="1.0.0",
            manifest_sha256="d" * 64,
            component_sha256="c" * 64,
            issued_at="2026-01-01T00:00:00Z",
        )


async def under_way(calls: RunningCalls, facts: CallFacts = FACTS) -> None:
    with calls.enter(facts):
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Revoked("the key was revoked"), "revoked"),
        (BundleUnavailable("the store does not answer"), "bundle_unavailable"),
        (RuntimeError("a fault of ours"), "revoked"),
    ],
)
async def test_a_revoked_key_ends_what_nobody_vouches_for_any_more(error: Exception, code: str) -> None:
    trusted = Trusted(error)
    calls = RunningCalls(Feed(), trusted)
    tasks = [asyncio.create_task(under_way(calls)) for _ in range(3)]
    await until(lambda: len(calls._calls) == 3)
    calls.heard(entry("revoked_key", "k"))
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [found.code for found in ended if isinstance(found, PlatformError)] == [code] * 3
    assert len({id(found) for found in ended}) == 3
    assert trusted.asked == [HASH]


async def test_a_revoked_key_ends_nothing_that_another_signature_still_vouches_for() -> None:
    calls = RunningCalls(Feed(), trusted := Trusted(None))
    task = asyncio.create_task(under_way(calls))
    await until(lambda: len(calls._calls) == 1)
    calls.heard(entry("revoked_key", "k"))
    await until(lambda: bool(trusted.asked) and not calls._verifying)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_nothing_is_verified_while_nothing_runs() -> None:
    calls = RunningCalls(Feed(), trusted := Trusted(None))
    calls.heard(entry("revoked_key", "k"))
    assert not calls._verifying
    await calls.aclose()
    assert trusted.asked == []


# ---- cancellation ---------------------------------------------------------------------------------------------


async def test_a_caller_that_leaves_in_the_same_moment_is_still_cancelled() -> None:
    feed = Feed()
    calls = RunningCalls(feed, Trusted(None))
    task = asyncio.create_task(under_way(calls))
    await until(lambda: len(calls._calls) == 1)
    calls.heard(revoke(feed))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_timeout_around_a_stopped_call_does_not_take_the_stop_for_its_own() -> None:
    feed = Feed()
    calls = RunningCalls(feed, Trusted(None))

    async def bounded() -> None:
        async with asyncio.timeout(60):
            await under_way(calls)

    task = asyncio.create_task(bounded())
    await until(lambda: len(calls._calls) == 1)
    calls.heard(revoke(feed))
    with pytest.raises(Revoked):
        await task


async def test_a_call_that_is_stopped_twice_ends_once_with_the_first_reason() -> None:
    feed = Feed()
    calls = RunningCalls(feed, Trusted(None))
    task = asyncio.create_task(under_way(calls))
    await until(lambda: len(calls._calls) == 1)
    calls.heard(revoke(feed))
    calls.heard(disable(feed))
    with pytest.raises(Revoked, match="version"):
        await task
    assert task.cancelling() == 0
