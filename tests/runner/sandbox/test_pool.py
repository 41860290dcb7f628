"""Sandbox processes: what a guest may do to itself, to its process, and never to anyone else."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from runner.sandbox import frames
from runner.sandbox import pool as sandbox_pool
from runner.sandbox.hardening import REQUIRED
from runner.sandbox.pool import PoolOptions
from runner.sandbox.process import Died, Outcome
from shared.errors import Overloaded
from shared.limits import GUEST_ANSWER_MAX_BYTES, MIB
from tests.runner.sandbox.driving import Driver, Recorded, running_pool, until


def done(outcome: Outcome) -> frames.Done:
    assert isinstance(outcome.result, frames.Done), outcome
    return outcome.result


def descriptors(pid: int) -> list[str]:
    return sorted(str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir())


def failed(outcome: Outcome) -> frames.Failed:
    assert isinstance(outcome.result, frames.Failed), outcome
    return outcome.result


async def test_a_guest_answers_with_the_bytes_it_was_given(driver: Driver) -> None:
    body = bytes(range(256)) * 17
    answer = done(await driver.call(body=body, headers=[("x-ü", "ä"), ("empty", "")]))
    assert (answer.status, answer.headers, answer.body) == (200, [("x-ü", "ä"), ("empty", "")], body)


async def test_an_answer_just_below_the_wall_passes_and_one_above_it_gets_a_clear_error(driver: Driver) -> None:
    below, above = b"x" * (GUEST_ANSWER_MAX_BYTES - 4096), b"x" * (GUEST_ANSWER_MAX_BYTES + 48)
    assert done(await driver.call(body=below, memory_mb=32)).body == below
    refused = failed(await driver.call(body=above, memory_mb=32))
    assert refused.kind == "response"
    assert str(GUEST_ANSWER_MAX_BYTES) in refused.message


async def test_no_body_and_an_empty_body_are_different_things(driver: Driver) -> None:
    assert done(await driver.call(body=None)).body is None
    assert done(await driver.call(body=b"")).body == b""


@pytest.mark.parametrize(
    ("url", "kind"),
    [("/loop", "interrupt"), ("/trap", "unreachable"), ("/stack", "stack"), ("/read", "trap"), ("/divide", "trap")],
)
async def test_a_guest_that_fails_is_told_apart_and_the_next_call_works(driver: Driver, url: str, kind: str) -> None:
    assert failed(await driver.call(url, timeout_ms=300)).kind == kind
    assert done(await driver.call()).status == 200


async def test_a_memory_bomb_is_refused_memory_and_the_growth_is_seen(driver: Driver) -> None:
    outcome = await driver.call("/bomb", memory_mb=32)
    assert failed(outcome).kind == "unreachable"
    assert outcome.used_up(32 * MIB)
    assert not (await driver.call("/trap", memory_mb=32)).used_up(32 * MIB)


async def test_an_endless_loop_ends_within_fifty_milliseconds_of_its_deadline(driver: Driver) -> None:
    await driver.call()
    started = time.monotonic()
    failed(await driver.call("/loop", timeout_ms=200))
    assert 0.19 < time.monotonic() - started < 0.3


async def test_a_guest_blocked_in_a_host_call_is_killed_at_its_deadline(driver: Driver) -> None:
    calls = Recorded()
    calls.gate = asyncio.Event()
    outcome = await driver.call("/host", timeout_ms=200, calls=calls, grants=("cap:storage.kv",))
    assert isinstance(outcome.result, Died)
    assert outcome.result.timed_out
    assert outcome.result.signal() == signal.SIGKILL
    assert done(await driver.call()).status == 200


async def test_a_granted_host_call_is_asked_of_the_worker(driver: Driver) -> None:
    calls = Recorded()
    assert done(await driver.call("/host", calls=calls, grants=("cap:storage.kv",))).status == 299
    assert calls.asked == [("storage", "get", ["one", "line"])]


async def test_a_denied_host_call_is_answered_inside_and_names_the_grant(driver: Driver) -> None:
    calls = Recorded()
    assert done(await driver.call("/host", calls=calls)).status == 299
    assert calls.asked == []
    assert calls.lines == [
        ("warn", "system", "storage.get: denied; granting cap:storage.kv to this install would allow it")
    ]


async def test_waiting_in_a_host_call_is_announced_and_taken_back(driver: Driver) -> None:
    told: list[bool] = []
    await driver.call("/host", grants=("cap:storage.kv",), waiting=told.append)
    assert told == [True, False]


async def test_a_log_line_arrives_before_the_answer(driver: Driver) -> None:
    calls = Recorded()
    await driver.call("/info", calls=calls)
    assert calls.lines == [("info", "log", "one line")]


async def test_a_flood_of_lines_ends_in_one_marker_and_silence(driver: Driver) -> None:
    calls = Recorded()
    outcome = await driver.call("/w", timeout_ms=1500, calls=calls)
    assert not isinstance(outcome.result, frames.Done)  # ended inside, or killed where the machine is busy
    assert sum(len(line[2]) for line in calls.lines) < 1.1 * (1 << 20)
    assert [line[1] for line in calls.lines].count("system") <= 1


async def test_a_sandbox_killed_from_outside_costs_one_call_and_the_next_succeeds(driver: Driver) -> None:
    calls = Recorded()
    calls.gate = asyncio.Event()
    running = asyncio.create_task(driver.call("/host", calls=calls, grants=("cap:storage.kv",)))
    await until(lambda: bool(calls.asked))
    (busy,) = [sandbox for sandbox in driver.pool._all if sandbox.tenant == "acme"]
    os.kill(busy.pid, signal.SIGKILL)
    outcome = await running
    assert isinstance(outcome.result, Died)
    assert not outcome.result.timed_out
    assert done(await driver.call()).status == 200


async def test_a_sandbox_serves_one_tenant_for_life(driver: Driver) -> None:
    served: dict[int, set[str]] = {}
    for tenant in ("acme", "globex", "initech", "acme", "globex", "initech"):
        done(await driver.call(tenant=tenant))
        for sandbox in driver.pool._all:
            if sandbox.tenant is not None:
                served.setdefault(sandbox.pid, set()).add(sandbox.tenant)
    assert len(served) == 3
    assert all(len(tenants) == 1 for tenants in served.values())


async def test_the_same_tenant_meets_its_sandbox_again(driver: Driver) -> None:
    for _ in range(5):
        done(await driver.call())
    assert [sandbox.calls_served for sandbox in driver.pool._all if sandbox.tenant == "acme"] == [5]


async def test_idle_sandboxes_are_bounded_and_the_oldest_goes_first(driver: Driver) -> None:
    for tenant in ("a", "b", "c", "d", "e", "f"):
        done(await driver.call(tenant=tenant))
    assert [sandbox.tenant for sandbox in driver.pool._idle] == ["c", "d", "e", "f"]


async def test_a_full_pool_of_busy_sandboxes_refuses_with_a_retry_time(behaviours: bytes) -> None:
    async with running_pool(PoolOptions(sandbox_max=2, spares=0)) as pool:
        driver = Driver(pool, behaviours)
        calls = Recorded()
        calls.gate = asyncio.Event()
        busy = [
            asyncio.create_task(driver.call("/host", tenant=tenant, calls=calls, grants=("cap:storage.kv",)))
            for tenant in ("a", "b")
        ]
        await until(lambda: len(calls.asked) == 2)
        with pytest.raises(Overloaded) as refused:
            await driver.call(tenant="c")
        assert refused.value.retry_after_s == 1
        calls.gate.set()
        assert [done(await task).status for task in busy] == [299, 299]


async def test_a_cancelled_call_leaves_no_process_behind(driver: Driver) -> None:
    await driver.call()
    (sandbox,) = [known for known in driver.pool._all if known.tenant == "acme"]
    running = asyncio.create_task(driver.call("/loop"))
    await until(lambda: sandbox._result is not None)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await sandbox.wait_closed()
    assert sandbox not in driver.pool._all
    assert done(await driver.call()).status == 200


async def test_a_sandbox_whose_answer_came_while_it_was_being_killed_is_not_used_again(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await driver.call()
    (sandbox,) = [known for known in driver.pool._all if known.tenant == "acme"]
    honest = frames.decode_from_sandbox

    def late(body: bytes) -> frames.FromSandbox:
        frame = honest(body)
        if isinstance(frame, frames.Failed):
            sandbox._kill_late()  # its timer fires in the same moment
        return frame

    monkeypatch.setattr(frames, "decode_from_sandbox", late)
    assert failed(await driver.call("/loop", timeout_ms=100)).kind == "interrupt"
    assert not sandbox.alive
    assert done(await driver.call()).status == 200
    assert sandbox not in driver.pool._all


async def test_the_required_wall_stands_in_every_sandbox(driver: Driver) -> None:
    await driver.call()
    for sandbox in [known for known in driver.pool._all if known.tenant == "acme"]:
        assert {name for name in REQUIRED if sandbox.wall.get(name) != "on"} == set()


async def test_a_sandbox_holds_its_socket_its_timer_and_sealed_images_only(driver: Driver) -> None:
    await driver.call()
    (sandbox,) = [known for known in driver.pool._all if known.tenant == "acme"]
    held = descriptors(sandbox.pid)
    kinds = {name.split(":")[0].removeprefix("/") for name in held}
    assert kinds <= {"socket", "anon_inode", "memfd", "dev/null"}
    assert sum(name.startswith("socket") for name in held) == 1


async def test_no_sandbox_outlives_its_pool(behaviours: bytes) -> None:
    async with running_pool(PoolOptions(sandbox_max=4)) as pool:
        await Driver(pool, behaviours).call()
        pids = [sandbox.pid for sandbox in pool._all]
        sandboxes = list(pool._all)
    for sandbox in sandboxes:
        await sandbox.wait_closed()
    assert pids
    await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


async def test_a_dead_zygote_is_replaced(driver: Driver) -> None:
    await driver.call()
    zygote = driver.pool._zygote
    assert zygote is not None
    zygote._process.kill()
    await asyncio.wait({zygote.ended})
    await until(lambda: driver.pool._zygote is not zygote and driver.pool.ready.is_set())
    assert done(await driver.call()).status == 200


async def test_an_idle_sandbox_gives_back_what_it_kept_and_serves_again(driver: Driver) -> None:
    await driver.call("/bomb", memory_mb=32)
    (sandbox,) = [known for known in driver.pool._all if known.tenant == "acme"]
    kept = sandbox._rss()
    await until(lambda: sandbox.trimmed and sandbox._rss() < kept - 8 * MIB)
    assert done(await driver.call(body=b"again")).body == b"again"


async def test_memory_of_the_last_call_is_never_seen_by_the_next(driver: Driver) -> None:
    canary = b"canary-of-the-first-call" * 4000
    assert done(await driver.call(body=canary)).body == canary
    for _ in range(3):
        leaked = done(await driver.call("/memory", body=None)).body
        assert leaked is not None
        assert b"canary" not in leaked
        assert len(leaked) == 128 * 1024 - 8192


async def test_a_process_that_grows_beyond_its_bound_is_killed_and_said_to_be_too_large(behaviours: bytes) -> None:
    async with running_pool(PoolOptions(sandbox_max=4, rss_max_bytes=60 * MIB)) as pool:
        driver = Driver(pool, behaviours)
        assert done(await driver.call()).status == 200
        outcome = await driver.call("/grow", memory_mb=200)
        assert isinstance(outcome.result, Died)
        assert outcome.result.too_large
        assert done(await driver.call()).status == 200


# ---- guests that give way -----------------------------------------------------------------------------------


async def pid_of(driver: Driver, *, yields: bool) -> int:
    """The process that ran a call."""
    done(await driver.call(yields=yields))
    (sandbox,) = [one for one in driver.pool._all if one.tenant == "acme"]
    return sandbox.pid


async def test_a_guest_of_a_flooding_tenant_runs_in_the_idle_class_and_later_in_the_usual_one(driver: Driver) -> None:
    pid = await pid_of(driver, yields=True)
    assert os.sched_getscheduler(pid) == os.SCHED_IDLE
    assert await pid_of(driver, yields=True) == pid
    if os.geteuid() == 0:
        assert await pid_of(driver, yields=False) == pid
        assert os.sched_getscheduler(pid) == os.SCHED_OTHER


async def test_without_the_privilege_to_raise_it_one_that_was_idle_is_replaced_and_a_busy_one_is_not(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox_pool, "set_yielding", lambda _pid, yields: yields)
    first = await pid_of(driver, yields=True)
    assert await pid_of(driver, yields=False) == first
    monkeypatch.setattr(sandbox_pool, "REPLACE_IDLE_S", 0.0)
    second = await pid_of(driver, yields=False)
    assert second != first
    assert os.sched_getscheduler(second) == os.SCHED_OTHER
