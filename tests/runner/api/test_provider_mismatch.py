"""A call whose gateway knows a service of the host application otherwise is refused before anything runs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from runner.capabilities import provider as capability
from runner.capabilities.table import with_services
from runner.sandbox.pool import PoolOptions
from shared.provider_files import shipped
from tests.runner.api.door import Runner
from tests.runner.sandbox.driving import running_pool

GRANTED = ("cap:client.read", "cap:context.read")


class Nobody:
    """A host application that is never asked."""

    async def ask(self, url: str, body: bytes, *, token: str, request_id: str, timeout_s: float) -> tuple[int, bytes]:
        raise AssertionError(url)


@pytest.fixture
async def runner(native: bytes) -> AsyncIterator[Runner]:
    async with running_pool(PoolOptions(sandbox_max=2)) as pool:
        answered = (capability.capability(one, "http://127.0.0.1:1", Nobody()) for one in shipped())
        yield Runner(pool, native, with_services(*answered))


async def test_the_same_description_runs(runner: Runner) -> None:
    digests = {"clients": shipped().digests["clients"]}
    status, answer = await runner.call(providers=GRANTED, provider_digests=digests)
    assert (status, answer.status, answer.error) == (200, 200, None)


async def test_a_caller_that_does_not_say_is_not_asked(runner: Runner) -> None:
    status, _ = await runner.call(providers=GRANTED)
    assert status == 200


@pytest.mark.parametrize("digests", [{"clients": "0" * 16}, {"crm": "0" * 16}])
async def test_another_description_is_refused_and_nothing_ran(runner: Runner, digests: dict[str, str]) -> None:
    status, answer = await runner.call(providers=GRANTED, provider_digests=digests)
    assert status == 503
    assert answer.error is not None
    assert (answer.error.code, answer.error.blame, answer.error.started) == ("provider_mismatch", "host", False)
    assert "EXT_PROVIDERS_DIR" in answer.error.message
    assert runner.bundles.loads == 0


async def test_a_grant_for_a_service_that_is_not_known_here_is_refused(runner: Runner) -> None:
    status, answer = await runner.call(providers=(*GRANTED, "cap:crm.read"))
    assert status == 400
    assert answer.error is not None
    assert answer.error.code == "unknown_capabilities"
    assert "cap:crm.read" in answer.error.message
