"""What guests are offered: read once by the worker, the same in every zygote and sandbox, refused without its grant."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner.sandbox import frames
from runner.sandbox.engine import EngineOptions
from runner.sandbox.guest_host import GuestHost
from runner.sandbox.offer import Offer, platform_offer, read, written
from runner.sandbox.pool import PoolOptions, SandboxPool
from shared.capabilities import INTERFACES
from shared.provider_files import read_providers, shipped
from shared.wit_types import Function
from tests.runner.sandbox.driving import Driver, compiled
from tests.shared.provider_sources import provider_files

EXECUTE = frames.Execute(
    seq=7,
    component="c",
    timeout_ms=1000,
    memory_bytes=1 << 20,
    context=("r", "acme", "e", None, None),
    method="GET",
    url="/",
    headers=[],
    body=None,
    capabilities=("cap:context.read",),
    user="not-available",
    config=[],
)


def offer_of(directory: Path | None = None) -> Offer:
    providers = shipped() if directory is None else read_providers(str(directory))
    return Offer(providers.world, dict(providers.interfaces))


def function(interface: str, name: str) -> Function:
    return next(one for one in shipped().world.interfaces[interface].functions if one.name == name)


def test_an_offer_is_read_as_it_was_written(tmp_path: Path) -> None:
    offer = offer_of(provider_files(tmp_path))
    with written(offer) as descriptor:
        data = os.read(descriptor, 1 << 22)
        assert os.read(descriptor, 1) == b""
    assert read(data) == offer
    assert (
        set(offer.world.imports) == set(offer.capabilities) == {*INTERFACES, "clients", "crm", "invoicing", "services"}
    )
    with pytest.raises(OSError, match="descriptor"):
        os.read(descriptor, 1)


def test_nothing_offers_what_the_platform_answers_by_itself() -> None:
    assert read(b"") == platform_offer()
    assert set(platform_offer().capabilities) == set(INTERFACES)


def test_what_is_no_offer_starts_nothing() -> None:
    with pytest.raises(msgspec.MsgspecError):
        read(b"\xc1")


class Parent:
    """The other end of a sandbox's socket: keeps what it is sent and answers with `reply`."""

    def __init__(self, reply: Any = None) -> None:
        self.sent: list[Any] = []
        self._reply = reply

    def send(self, frame: Any) -> None:
        self.sent.append(frame)

    def receive(self) -> frames.Reply:
        return frames.Reply(7, self._reply)


def host(parent: Parent, *granted: str) -> GuestHost:
    made = GuestHost(parent, offer_of().capabilities)  # type: ignore[arg-type]  # as a channel
    made.begin(msgspec.structs.replace(EXECUTE, capabilities=("cap:context.read", *granted)))
    return made


def test_a_service_without_its_grant_is_refused_inside_and_said_once() -> None:
    parent = Parent()
    inside = host(parent, "cap:service.read")
    for _ in range(2):
        assert inside.call("clients", function("clients", "get-client"), ["c-1"]) == (False, "not-allowed")
    refused = inside.call("invoicing", function("invoicing", "create-manual-invoice"), [["c", [], None, None, None]])
    assert (refused[0], refused[7]) == (False, "cap:invoice.manual.create is not granted to this install")
    assert [type(frame) for frame in parent.sent] == [frames.Log, frames.Log]
    assert "granting cap:client.read to this install would allow it" in parent.sent[0].message


def test_a_service_with_its_grant_is_asked_of_the_parent() -> None:
    parent = Parent((True, None))
    inside = host(parent, "cap:client.read")
    assert inside.call("clients", function("clients", "get-client"), ["c-1"]) == (True, None)
    assert parent.sent == [frames.HostCall(7, "clients", "get-client", ["c-1"])]


async def test_a_pool_with_services_runs_guests_that_use_none_of_them() -> None:
    pool = SandboxPool(PoolOptions(sandbox_max=2, idle_max=1, require_wall=False), EngineOptions(), offer_of())
    started = asyncio.Event()
    running = asyncio.create_task(pool.run(started))
    try:
        async with asyncio.timeout(60):
            await started.wait()
        driver = Driver(pool, compiled(Path(__file__).with_name("behaviours.wat")))
        outcome = await driver.call("/echo", body=b"hello")
        assert isinstance(outcome.result, frames.Done)
        assert outcome.result.body == b"hello"
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
