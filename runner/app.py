"""Composition of one worker process: everything is opened here, in order, and closed in reverse. No globals."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec

from runner.aot.loader import ArtefactLoader
from runner.api.execute import ExecuteDoor, Replay
from runner.api.execution import ExecutionLimits, Executor
from runner.api.internal import InternalApp, Readiness
from runner.api.reseal import ResealDoor
from runner.api.running import RunningCalls
from runner.assets.app import AssetApp
from runner.assets.live import LiveUis
from runner.assets.packs import Packs
from runner.assets.policy import UiPolicy
from runner.bundles.archive import Archives
from runner.bundles.background import Background
from runner.bundles.cache import DiskCache
from runner.bundles.objects import Objects, open_objects
from runner.bundles.statements import Statements
from runner.capabilities import events, http, provider, scheduler, storage, ui_proxy
from runner.capabilities import metrics as guest_metrics
from runner.capabilities.capability import Capability
from runner.capabilities.table import with_services
from runner.clients.compiler import CompilerClient
from runner.clients.gateway import GatewayClient
from runner.clients.host_calls import HostCallClient
from runner.clients.http import open_session
from runner.clients.identity import Identity
from runner.clients.provider import ProviderClient
from runner.clients.ui_proxy import UiProxyClient
from runner.clients.vault import open_vault
from runner.debug.redis_sink import DebugSettings, open_sink
from runner.egress.fetch import open_egress
from runner.egress.slots import Slots
from runner.guest_metrics.exposition import GuestMetrics
from runner.metrics import RunnerMetrics
from runner.sandbox.breaker import Breaker
from runner.sandbox.engine import CPU_TARGET, EngineOptions, engine_id
from runner.sandbox.fair_queue import FairQueue
from runner.sandbox.offer import Offer
from runner.sandbox.pool import PoolOptions, SandboxPool
from runner.secrets.keyring import Keyring, SealedBoxes, TransitBoxes
from runner.settings import RunnerSettings
from runner.state.feed import StateFeedPoller
from runner.state.trust_watch import watch_trust
from runner.usable import IDLE_SHARE, usable_memory_bytes
from shared.deadline import Deadline
from shared.limits import MIB, UI_LOOKUPS_PER_S
from shared.tokens import Verifier
from shared.trust import TrustStore

PROBE_MS = 500  # readiness asks its dependencies this long at most


class Applications(msgspec.Struct, frozen=True):
    """What one worker serves."""

    internal: InternalApp
    public: AssetApp
    draining: asyncio.Event


class Health:
    """What `/readyz` says: ready unless draining, without a sandbox, or without the required wall."""

    def __init__(
        self, pool: SandboxPool, objects: Objects, feed: StateFeedPoller, keyring: Keyring, metrics: RunnerMetrics
    ) -> None:
        self._pool, self._objects, self._feed, self._keyring, self._metrics = pool, objects, feed, keyring, metrics
        self.draining = asyncio.Event()

    async def __call__(self) -> Readiness:
        store = await self._objects.reachable(Deadline.after_ms(PROBE_MS))
        counts = self._pool.counts()
        for state, number in counts.items():
            self._metrics.sandboxes.labels(state).set(number)
        return Readiness(
            ready=self._pool.ready.is_set() and not self.draining.is_set(),
            draining=self.draining.is_set(),
            wall=self._pool.wall,
            dependencies={
                "store": "ok" if store else "degraded",
                "state_feed": "degraded" if self._feed.stale or not self._feed.first.is_set() else "ok",
                "secrets": "degraded" if self._keyring.away else "ok",
            },
            sandboxes=counts,
        )


@contextlib.asynccontextmanager
async def open_runner(
    settings: RunnerSettings, replay: Replay, queue: FairQueue, breaker: Breaker, fetching: Slots, worker: int = 0
) -> AsyncIterator[Applications]:
    """The applications of one worker, with all they need; ready when the first sandbox is.

    Args:
        settings: read once by the process.
        replay: the supervisor's table of used tokens.
        queue: who may compute next in this worker.
        breaker: how fast an install may lose sandboxes.
        fetching: how many fetches of a tenant may be under way in all workers.
        worker: which of the runner's workers this is; its successor has the same number.

    Raises:
        TrustFormatError: the trust bundle is missing or not readable.
    """
    metrics, guests = RunnerMetrics(), _guest_metrics(settings, worker)
    engine = EngineOptions(fuel=settings.runner_fuel)
    trust = TrustStore(settings.signing_trust_bundle, unsigned_allowed=settings.ext_allow_unsigned)
    cache = DiskCache(settings.ext_cache_root, settings.ext_cache_max_bytes)
    async with contextlib.AsyncExitStack() as stack:
        # First in, last out: whatever ends before it can still say so.
        sink = await stack.enter_async_context(open_sink(_debug_settings(settings, worker), metrics.debug_dropped.inc))
        session = await stack.enter_async_context(open_session(settings))
        objects = await stack.enter_async_context(open_objects(settings))
        background = await stack.enter_async_context(Background())
        await cache.open()
        identity = Identity(settings.runner_identity_key)
        gateway = GatewayClient(session, settings.runner_gateway_url, identity)
        statements = Statements(objects, cache, trust, background)
        stack.push_async_callback(statements.aclose)
        loader = ArtefactLoader(
            statements=statements,
            cache=cache,
            objects=objects,
            compiler=CompilerClient(session, settings.compiler_base_url, identity),
            keys=settings.runner_aot_public_keys,
            engine_id=engine_id(engine),
            cpu_target=CPU_TARGET,
            background=background,
            cold_loads=metrics,
            tampered=metrics.tampered,
        )
        stack.push_async_callback(loader.aclose)
        feed, pool = StateFeedPoller(gateway, trust), _pool(settings, engine)
        archives = Archives(objects, cache, statements, metrics.tampered)
        public = await _public(stack, settings, statements, archives, cache, feed, gateway)
        running = _calls(stack, settings, feed, statements)
        keyring = await _keyring(stack, settings)
        executor = Executor(
            limits=_limits(settings),
            trusted=statements,
            code=loader,
            running=running,
            breaker=breaker,
            pool=pool,
            queue=queue,
            world=settings.providers.world,
            sink=sink,
            metrics=metrics,
            keyring=keyring,
            table=await _table(stack, settings, fetching, metrics, guests),
        )
        verifier = Verifier(settings.runner_gateway_keys, {"runner", f"runner:{settings.runner_instance}"})
        door = ExecuteDoor(executor, verifier, replay, metrics, settings.runner_service_token)
        health = Health(pool, objects, feed, keyring, metrics)
        await stack.enter_async_context(_running(pool, feed, trust, guests))
        internal = InternalApp(door, ResealDoor(keyring, verifier, replay), metrics, health, guests)
        yield Applications(internal, public, health.draining)


def _calls(
    stack: contextlib.AsyncExitStack, settings: RunnerSettings, feed: StateFeedPoller, statements: Statements
) -> RunningCalls:
    running = RunningCalls(feed, statements, refuse_stale=settings.ext_stale_mode == "refuse")
    stack.push_async_callback(running.aclose)
    feed.listen(running.heard)
    return running


async def _table(
    stack: contextlib.AsyncExitStack,
    settings: RunnerSettings,
    fetching: Slots,
    metrics: RunnerMetrics,
    guests: GuestMetrics,
) -> Mapping[str, Capability]:
    """The capabilities, with what answers those that leave this process."""
    # Its own connections, one for each guest that may run: none of them waits for another's, and the feed for none.
    session = await stack.enter_async_context(open_session(settings, _pool_options(settings).sandbox_max))
    egress = await stack.enter_async_context(open_egress(settings.egress(), fetching, metrics))
    callbacks = HostCallClient(session, settings.runner_gateway_url)
    return with_services(
        storage.capability(callbacks),
        scheduler.capability(callbacks),
        events.capability(callbacks),
        http.capability(egress),
        guest_metrics.capability(guests.book, metrics.sample_dropped),
        *await _provided(stack, settings),
    )


def _guest_metrics(settings: RunnerSettings, worker: int) -> GuestMetrics:
    directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR")  # where the supervisor has its workers leave theirs
    return GuestMetrics(settings.runner_guest_metrics_labels, Path(directory) if directory else None, worker)


async def _provided(stack: contextlib.AsyncExitStack, settings: RunnerSettings) -> list[Capability]:
    """What the host application answers. It has connections of its own: it may be slow."""
    session = await stack.enter_async_context(open_session(settings))
    client, addresses = ProviderClient(session), dict(settings.runner_provider_endpoints)
    way = ui_proxy.Way(settings.ui_proxy_base_url, settings.ui_proxy_api_paths, settings.ui_proxy_timeout_ms)
    return [
        *(provider.capability(one, addresses.get(one.endpoint), client) for one in settings.providers),
        ui_proxy.capability(way, UiProxyClient(session, settings.ui_proxy_auth_key)),
    ]


def _limits(settings: RunnerSettings) -> ExecutionLimits:
    return ExecutionLimits(settings.runner_default_timeout_ms, settings.runner_max_timeout_ms, settings.runner_fuel)


async def _keyring(stack: contextlib.AsyncExitStack, settings: RunnerSettings) -> Keyring:
    """What this runner can open: its own keys' boxes, and Vault's when it is configured."""
    own, vault = SealedBoxes(settings.runner_sealing_keys), settings.vault()
    if vault is None:
        return Keyring(own)
    transit = TransitBoxes(await stack.enter_async_context(open_vault(vault)))
    stack.push_async_callback(transit.aclose)
    return Keyring(own, transit)


def _debug_settings(settings: RunnerSettings, worker: int) -> DebugSettings:
    return DebugSettings(
        url=settings.runner_debug_redis_url,
        prefix=settings.runner_debug_redis_stream_prefix,
        maxlen=settings.runner_debug_redis_maxlen,
        max_event_bytes=settings.runner_debug_max_event_bytes,
        # Two runners on one machine have its name in common, but not the port.
        instance=f"{settings.runner_instance}:{settings.runner_bind.rpartition(':')[2]}",
        worker=worker,
        workers=settings.runner_workers,
    )


def _pool(settings: RunnerSettings, engine: EngineOptions) -> SandboxPool:
    offer = Offer(settings.providers.world, dict(settings.providers.interfaces), settings.runner_codec)
    return SandboxPool(_pool_options(settings), engine, offer)


def _idle_memory_bytes(settings: RunnerSettings) -> int:
    if settings.runner_idle_memory_mb is not None:
        return settings.runner_idle_memory_mb * MIB
    return round(usable_memory_bytes() * IDLE_SHARE)


def _pool_options(settings: RunnerSettings) -> PoolOptions:
    workers = settings.runner_workers
    return PoolOptions(
        sandbox_max=max(2, settings.runner_sandbox_max // workers),
        idle_max=max(1, settings.runner_sandbox_idle_max // workers),
        kept_max_bytes=_idle_memory_bytes(settings) // workers,
        require_wall=not settings.local,
    )


async def _public(
    stack: contextlib.AsyncExitStack,
    settings: RunnerSettings,
    statements: Statements,
    archives: Archives,
    cache: DiskCache,
    feed: StateFeedPoller,
    gateway: GatewayClient,
) -> AssetApp:
    live = LiveUis(feed, gateway, UI_LOOKUPS_PER_S / settings.runner_workers)
    stack.push_async_callback(live.aclose)
    policy = UiPolicy(
        frame_ancestors=settings.ext_ui_frame_ancestors, replacement=settings.ext_ui_content_security_policy
    )
    packs = Packs(statements, archives, cache, policy)
    stack.push_async_callback(packs.aclose)
    return AssetApp(live, packs)


@contextlib.asynccontextmanager
async def _running(
    pool: SandboxPool, feed: StateFeedPoller, trust: TrustStore, guests: GuestMetrics
) -> AsyncIterator[None]:
    """The tasks that live as long as the worker."""
    feed.listen(guests.book.heard)
    started = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(pool.run(started), name="pool"),
            tasks.create_task(feed.run(), name="state-feed"),
            tasks.create_task(watch_trust(trust), name="trust"),
            tasks.create_task(guests.run(), name="guest-metrics"),
        ]
        await started.wait()
        try:
            yield
        finally:
            for task in running:
                task.cancel()
