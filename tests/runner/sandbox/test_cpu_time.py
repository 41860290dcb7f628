"""Processor time is what the kernel says: a sandbox that claims otherwise is charged all the same."""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec
import pytest

from runner.sandbox import frames
from runner.sandbox.cpu_time import process_cpu_us
from tests.runner.sandbox.driving import Driver, Recorded


def lying(monkeypatch: pytest.MonkeyPatch, says: Callable[[int], int]) -> None:
    """From now on every sandbox says `says(what it used)`."""
    honest = frames.decode_from_sandbox

    def decode(body: bytes) -> frames.FromSandbox:
        frame = honest(body)
        if isinstance(frame, frames.Done | frames.Failed):
            return msgspec.structs.replace(frame, cpu_us=says(frame.cpu_us))
        return frame

    monkeypatch.setattr(frames, "decode_from_sandbox", decode)


async def used_us(driver: Driver, url: str, timeout_ms: int = 3000) -> int:
    calls = Recorded()
    await driver.call(url, timeout_ms=timeout_ms, calls=calls)
    return calls.meter.cpu_us


async def test_a_sandbox_that_says_it_used_nothing_is_charged_what_it_used(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    lying(monkeypatch, lambda _: 0)
    charged = [await used_us(driver, "/loop", timeout_ms=300), await used_us(driver, "/echo")]
    assert sum(charged) > 100_000


async def test_a_sandbox_that_says_it_used_ages_is_charged_the_time_that_passed(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    lying(monkeypatch, lambda _: 2**53)
    assert 0 < await used_us(driver, "/echo") < 1_000_000


async def test_what_a_sandbox_does_between_its_calls_counts_in_the_next(driver: Driver) -> None:
    await used_us(driver, "/echo")
    (sandbox,) = [known for known in driver.pool._all if known.tenant == "acme"]
    before = sandbox._cpu_counted_us
    charged = await used_us(driver, "/echo")
    assert sandbox._cpu_counted_us == before + charged
    life_us = process_cpu_us(sandbox.pid)
    assert life_us is not None
    assert sandbox._cpu_counted_us <= life_us


def test_the_clock_of_a_process_rises_and_one_that_has_ended_has_none() -> None:
    first = process_cpu_us(os.getpid())
    while (second := process_cpu_us(os.getpid())) == first:
        continue
    assert first is not None
    assert second is not None
    assert second > first
    assert process_cpu_us(2**22 + 1) is None  # beyond the largest process id there is
