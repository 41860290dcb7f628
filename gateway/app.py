"""Composition: everything the gateway is made of, opened in order, closed in reverse; two applications over it.

    RequestIds → Problems → Heads → Bodies → Router

The public application has no `/internal`, the internal one has nothing for browsers: they stand on two listeners.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp

from gateway.api import (
    debug,
    denied,
    events,
    ext,
    health,
    installs,
    internal,
    internal_events,
    internal_scheduler,
    internal_storage,
    msp,
    registry,
    schedules,
    secrets,
    storage,
    ui,
)
from gateway.audit.denials import open_denials
from gateway.audit.log import open_execution_log
from gateway.context import GatewayContext
from gateway.debug.debugging import open_debugging
from gateway.events.service import open_events
from gateway.identity.authenticate import Identity
from gateway.installs.denied import InstallDenied
from gateway.installs.manage import Installs
from gateway.installs.resolve import open_resolver
from gateway.installs.secrets import InstallSecrets
from gateway.middleware.bodies import Bodies, Budget
from gateway.middleware.heads import Heads
from gateway.middleware.problems import Problems
from gateway.middleware.request_id import RequestIds
from gateway.migrate import migrations
from gateway.objects.client import open_objects
from gateway.proxy.client import open_runner
from gateway.proxy.compiler import open_compiler
from gateway.proxy.unattended import Unattended
from gateway.proxy.vault import open_sealer
from gateway.registry.prepare import open_preparations
from gateway.registry.publish import Publishing
from gateway.registry.signatures import Signatures
from gateway.schedules.service import open_schedules
from gateway.settings import GatewaySettings
from gateway.storage.records import Records
from gateway.store.pool import open_database
from gateway.upkeep import open_upkeep
from shared.limits import BUNDLE_MAX_BYTES, UPLOAD_MAX_S
from shared.trust import TrustStore


@asynccontextmanager
async def open_gateway(settings: GatewaySettings, drain: asyncio.Event | None = None) -> AsyncIterator[GatewayContext]:
    """One gateway, ready to serve.

    Args:
        settings: what was configured.
        drain: set by the process when it was asked to end; `readyz` then says so.

    Raises:
        AccessPolicyUnavailable: the database does not answer.
        PermissionError: a database login is more powerful than it may be.
        TrustFormatError: the trust bundle is missing or not valid.
    """
    metrics, trust = _metrics(), TrustStore(settings.trust_bundle)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(
            open_database(settings.database_url, settings.platform_database_url, settings.database_direct_url)
        )
        objects = await stack.enter_async_context(open_objects(settings))
        compiler = await stack.enter_async_context(open_compiler(settings))
        runner = await stack.enter_async_context(open_runner(settings, settings.signing_key, metrics))
        audit = await stack.enter_async_context(open_execution_log(store, settings, metrics))
        denials = await stack.enter_async_context(open_denials(store, metrics))
        resolver = await stack.enter_async_context(open_resolver(store, settings))
        unattended = Unattended(
            resolver,
            audit,
            denials,
            runner,
            timeout_ms=settings.timeout_ms,
            endpoint_policy=settings.endpoint_policy,
        )
        drain = drain or asyncio.Event()
        events_of = await stack.enter_async_context(open_events(store, unattended, settings, metrics, drain))
        scheduled = await stack.enter_async_context(open_schedules(store, unattended, metrics, drain))
        sealer = await stack.enter_async_context(open_sealer(settings))
        signatures = Signatures(trust, store)
        preparations = await stack.enter_async_context(
            open_preparations(store, objects, compiler, signatures, settings.providers.capabilities)
        )
        debugging = await stack.enter_async_context(open_debugging(store, settings, metrics))
        await stack.enter_async_context(open_upkeep(store, objects, trust))
        yield GatewayContext(
            settings=settings,
            store=store,
            objects=objects,
            identity=Identity(settings, store),
            trust=trust,
            gateway_key=settings.signing_key,
            runner=runner,
            unattended=unattended,
            audit=audit,
            denials=denials,
            resolver=resolver,
            publishing=Publishing(store, objects, signatures, preparations, limited=not settings.local),
            installs=Installs(store, signatures),
            secrets=InstallSecrets(store, sealer),
            denied=InstallDenied(store, denials),
            records=Records(store),
            schedules=scheduled,
            events=events_of,
            debug=debugging,
            metrics=metrics,
            schema_version=len(migrations()),
            drain=drain,
            log=structlog.get_logger("gateway"),
        )


def create_public_app(ctx: GatewayContext) -> ASGIApp:
    """What browsers, tools and the host application reach."""
    return _wrapped(
        [
            *health.public_routes(ctx),
            *registry.routes(ctx),
            *installs.routes(ctx),
            *secrets.routes(ctx),
            *denied.routes(ctx),
            *schedules.routes(ctx),
            *ext.routes(ctx),
            *ui.routes(ctx),
            *storage.routes(ctx),
            *events.routes(ctx),
            *debug.routes(ctx),
            *msp.routes(ctx),
        ]
    )


def create_internal_app(ctx: GatewayContext) -> ASGIApp:
    """What runners and the cluster's monitoring reach."""
    return _wrapped(
        [
            *health.internal_routes(ctx),
            *internal.routes(ctx),
            *internal_storage.routes(ctx),
            *internal_events.routes(ctx),
            *internal_scheduler.routes(ctx),
        ]
    )


def _wrapped(routes: Sequence[BaseRoute]) -> ASGIApp:
    router = Router(routes, redirect_slashes=False)
    bodies = Bodies(router, {("POST", registry.UPLOAD_PATH): Budget(BUNDLE_MAX_BYTES, UPLOAD_MAX_S * 1000)})
    return RequestIds(Problems(Heads(bodies)))


def _metrics() -> CollectorRegistry:
    found = CollectorRegistry()
    ProcessCollector(registry=found)
    PlatformCollector(registry=found)
    GCCollector(registry=found)
    return found
