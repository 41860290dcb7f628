"""The life of a sandbox process after its fork: wall, warm-up, filter, then frames until it dies.

Warm-up runs our own self-test component, so no guest instruction ever executes before the filter is in place. It
also proves the codec against a real instance: a sandbox that cannot echo is never announced as ready.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from typing import Any

from wasmtime import Engine

from runner.sandbox import frames, memory
from runner.sandbox.channel import Channel
from runner.sandbox.guest import GuestCall, Handler, LoadedComponent
from runner.sandbox.guest_host import GuestHost
from runner.sandbox.hardening import Wall
from runner.sandbox.library_codec import LibraryHandler
from runner.sandbox.linking import GuestLinker, Host
from runner.sandbox.offer import OWN, Offer
from runner.sandbox.ticker import Ticker
from shared.wit_types import Function

SELF_TEST_MEMORY_BYTES = 1 << 20  # sixteen pages; the component needs one
SELF_TEST_TIMEOUT_MS = 1_000


class SelfTestError(Exception):
    """The codec or the engine does not do what it must in this process."""


class HostSlot:
    """Stands in for the host while the zygote links; each forked sandbox puts its own host in."""

    def __init__(self) -> None:
        self.host: Host | None = None

    def call(self, interface: str, function: Function, arguments: Sequence[Any]) -> Any:
        return self._filled().call(interface, function, arguments)

    def refuse(self, interface: str, function: Function, reason: str) -> Any:
        return self._filled().refuse(interface, function, reason)

    def _filled(self) -> Host:
        if self.host is None:
            raise RuntimeError("a host call before the sandbox was ready")
        return self.host


class Inherited:
    """What the zygote made before forking: engine, linker, codec, mapped components."""

    def __init__(self, engine: Engine, offer: Offer, selftest: LoadedComponent, pool: frozenset[memory.Region]) -> None:
        self.engine = engine
        self.slot = HostSlot()
        self.capabilities = offer.capabilities
        self.linker = GuestLinker(engine, offer.world, self.slot, offer.codec)
        (export,) = offer.world.exports
        self.handler = Handler(export) if offer.codec == OWN else LibraryHandler(export)
        self.selftest = selftest
        self.pool = pool
        self.components: dict[str, LoadedComponent] = {}


def serve(inherited: Inherited, connection: socket.socket, zygote: int) -> None:
    """Run as a sandbox on `connection`; never returns normally while the parent lives."""
    wall = Wall()
    wall.before_threads(zygote)
    ticker = Ticker(inherited.engine)
    ticker.start()
    channel = Channel(connection)
    host = GuestHost(channel, inherited.capabilities)
    inherited.slot.host = host
    call = GuestCall(inherited.engine, inherited.linker, inherited.handler, host, ticker)
    _self_test(call, inherited.selftest)
    memory.give_back(inherited.pool)
    wall.after_warm_up()
    channel.send(frames.Ready(os.getpid(), wall.layers))
    while True:
        frame = channel.receive()
        if isinstance(frame, frames.Trim):
            memory.give_back(inherited.pool)
            continue
        if not isinstance(frame, frames.Execute):
            os._exit(2)
        loaded = inherited.components.get(frame.component)
        if loaded is None:
            os._exit(3)
        outcome = call.run(frame, loaded)
        _answer(channel, outcome)
        if isinstance(outcome, frames.Failed):
            channel.receive()  # Release: the parent has measured this process
        call.close()


def _answer(channel: Channel, outcome: frames.Done | frames.Failed) -> None:
    try:
        channel.send(outcome)
    except frames.FrameError as error:
        channel.send(frames.Failed(outcome.seq, "response", str(error), outcome.cpu_us, outcome.host_calls))


def _self_test(call: GuestCall, selftest: LoadedComponent) -> None:
    body, headers = bytes(range(256)), [("x-self-test", "äöü")]
    frame = frames.Execute(
        seq=0,
        component="",
        timeout_ms=SELF_TEST_TIMEOUT_MS,
        memory_bytes=SELF_TEST_MEMORY_BYTES,
        context=("request", "tenant", "extension", None, None),
        method="POST",
        url="/echo",
        headers=headers,
        body=body,
        capabilities=(),
        user="not-available",
        config=[],
    )
    outcome = call.run(frame, selftest)
    call.close()
    if not isinstance(outcome, frames.Done) or (outcome.status, outcome.headers, outcome.body) != (200, headers, body):
        raise SelfTestError(f"the self-test answered {outcome}")
