"""A guest's process aborts in the middle of a call: one row, with its end, and the next call is served. Row T64."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from deploy.local.record import Stack
from tests.system.acting import Visitor
from tests.system.runners import sandboxes_of
from tests.system.test_records import row_of
from tests.system.test_sandboxes import state_of

HELLO = "/api/ext/alga.samples.hello-quickjs"


@pytest.mark.security
async def test_t64_a_call_whose_process_aborts_is_502_has_one_row_and_the_next_call_is_served_within_a_second(
    admin: Visitor, stack: Stack
) -> None:
    await admin.get(f"{HELLO}/hello")
    calling = asyncio.create_task(admin.get(f"{HELLO}/loop"))
    found: list[int] = []
    async with asyncio.timeout(4):
        while not found:
            await asyncio.sleep(0.02)
            found = [pid for pid in sandboxes_of(stack.pids["runner"]) if state_of(pid) == "R"]
    os.kill(found[0], signal.SIGABRT)
    answer = await calling
    assert (answer.status, answer.code) == (502, "guest_aborted")
    row = await row_of(stack, answer)  # fails when there are two
    assert (row["state"], row["code"], row["http_status"]) == ("guest_error", "guest_aborted", 502)
    before_s = time.monotonic()
    assert (await admin.get(f"{HELLO}/hello")).status == 200
    assert time.monotonic() - before_s < 1
