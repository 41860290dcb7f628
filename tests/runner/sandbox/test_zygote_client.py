"""Notices of deaths: kept for who asks, bounded for whom nobody asks, and never taken for another process's."""

from __future__ import annotations

import os
import signal

from runner.sandbox import control
from runner.sandbox.zygote_client import DEATHS_KEPT_MAX
from tests.runner.sandbox.driving import Driver, until

GONE = 2**22 + 1  # beyond the largest process id there is


async def test_how_a_process_ended_and_what_it_used_is_told_once(driver: Driver) -> None:
    await driver.call()
    zygote = driver.pool._zygote
    assert zygote is not None
    (sandbox,) = [known for known in driver.pool._all if known.tenant == "acme"]
    os.kill(sandbox.pid, signal.SIGKILL)
    death = await zygote.death_of(sandbox.pid)
    assert death is not None
    assert os.WTERMSIG(death.status) == signal.SIGKILL
    assert death.cpu_us > 0
    assert sandbox.pid not in zygote._deaths


async def test_deaths_that_nobody_asks_about_are_forgotten_the_oldest_first(driver: Driver) -> None:
    zygote = driver.pool._zygote
    assert zygote is not None
    for number in range(DEATHS_KEPT_MAX + 10):
        zygote._take(control.Died(GONE + number, 9, 1), [])
    assert len(zygote._deaths) <= DEATHS_KEPT_MAX
    assert GONE not in zygote._deaths
    assert GONE + DEATHS_KEPT_MAX + 9 in zygote._deaths


async def test_the_death_of_an_earlier_process_is_not_taken_for_that_of_its_number(driver: Driver) -> None:
    await driver.call()
    zygote = driver.pool._zygote
    assert zygote is not None
    zygote._take(control.Died(GONE, 31, 1), [])
    zygote._take(control.Forked(GONE), [])
    assert GONE not in zygote._deaths


async def test_sandboxes_that_come_and_go_leave_no_notices_behind(driver: Driver) -> None:
    zygote = driver.pool._zygote
    assert zygote is not None
    for number in range(12):
        await driver.call(tenant=f"t{number}")
    await until(lambda: len(driver.pool._idle) <= 4)
    assert len(zygote._deaths) <= DEATHS_KEPT_MAX
