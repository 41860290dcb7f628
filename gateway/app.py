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
    admin,
    admin_brakes,
    api_keys,
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
    limits,
    msp,
    registry,
    registry_versions,
    schedules,
    secrets,
    storage,
    ui,
    upgrades,
    usage,
)
from gateway.audit.denials import open_denials
from gateway.audit.log import open_execution_log
from gateway.context import GatewayContext
from gateway.debug.debugging import open_debugging
from gateway.events.service import open_events
from gateway.hearing import open_hearing
from gateway.identity.authenticate import Identity
from gateway.identity.jwks import FixedKeys, HostKeys, open_published_keys
from gateway.identity.keys import JwksUrl
from gateway.installs.denied import InstallDenied
from gateway.installs.manage import Installs
from gateway.installs.resolve import open_resolver
from gateway.installs.secrets import InstallSecrets
from gateway.middleware.bodies import Bodies, Budget
from gateway.middleware.heads import Heads
from gateway.middleware.problems import Problems
from gateway.middleware.request_id import RequestIds
from gateway.migrate import migrations
from gateway.objects.client import ObjectStore, open_objects
from gateway.policy.limiter import open_limiter
from gateway.policy.stops import open_stops
from gateway.proxy.client import open_runner
from gateway.proxy.compiler import open_compiler
from gateway.proxy.dispatch import Dispatch
from gateway.proxy.jwks import open_jwks
from gateway.proxy.keyed import open_keyed
from gateway.proxy.unattended import Unattended
from gateway.proxy.vault import open_sealer
from gateway.registry.prepare import open_preparations
from gateway.registry.publish import Publishing
from gateway.registry.signatures import Signatures
from gateway.schedules.service import open_schedules
from gateway.settings import GatewaySettings
from gateway.storage.records import Records
from gateway.store.pool import Database, open_database
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
    metrics, trust = _metrics(), TrustStore(settings.trust_bundle, unsigned_allowed=settings.allow_unsigned)
    drain = drain or asyncio.Event()
    async with AsyncExitStack() as stack:
        enter, urls = stack.enter_async_context, (settings.database_url, settings.platform_database_url)
        store = await enter(open_database(*urls, settings.database_direct_url))
        objects = await enter(open_objects(settings))
        runner = await enter(open_runner(settings, settings.signing_key, metrics))
        audit = await enter(open_execution_log(store, settings, metrics))
        denials = await enter(open_denials(store, metrics))
        resolver = await enter(open_resolver(store, settings))
        identity = Identity(settings, store, host_keys=await enter(_host_keys(settings)))
        await enter(identity.api_keys.working())
        await enter(open_hearing(settings.database_direct_url, resolver, identity.api_keys))
        limiter = await enter(open_limiter(settings, metrics))
        stops = await enter(open_stops(store))
        dispatch = Dispatch(limiter, settings.quotas, audit, denials, runner, settings.timeout_ms, stops)
        keyed = await enter(open_keyed(dispatch, settings.redis_url))
        unattended = Unattended(resolver, dispatch, settings.endpoint_policy)
        events_of = await enter(open_events(store, unattended, settings, metrics, drain))
        scheduled = await enter(open_schedules(store, unattended, metrics, drain))
        sealer = await enter(open_sealer(settings))
        signatures = Signatures(trust, store)
        publishing = await enter(_publishing(settings, store, objects, signatures))
        debugging = await enter(open_debugging(store, settings, metrics))
        await enter(open_upkeep(store, objects, trust, metrics, limited=not settings.local))
        yield GatewayContext(
            settings=settings,
            store=store,
            objects=objects,
            identity=identity,
            trust=trust,
            gateway_key=settings.signing_key,
            runner=runner,
            dispatch=dispatch,
            keyed=keyed,
            unattended=unattended,
            limiter=limiter,
            audit=audit,
            denials=denials,
            resolver=resolver,
            signatures=signatures,
            stops=stops,
            publishing=publishing,
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


@asynccontextmanager
async def _publishing(
    settings: GatewaySettings, store: Database, objects: ObjectStore, signatures: Signatures
) -> AsyncIterator[Publishing]:
    """What makes versions of uploads, with the way to the compiler."""
    known = settings.providers.capabilities
    async with (
        open_compiler(settings) as compiler,
        open_preparations(store, objects, compiler, signatures, known) as preparations,
    ):
        yield Publishing(store, objects, signatures, preparations, limited=not settings.local)


def create_public_app(ctx: GatewayContext) -> ASGIApp:
    """What browsers, tools and the host application reach."""
    return _wrapped(
        [
            *health.public_routes(ctx),
            *registry.routes(ctx),
            *registry_versions.routes(ctx),
            *admin.routes(ctx),
            *admin_brakes.routes(ctx),
            *installs.routes(ctx),
            *upgrades.routes(ctx),
            *secrets.routes(ctx),
            *denied.routes(ctx),
            *limits.routes(ctx),
            *api_keys.routes(ctx),
            *usage.routes(ctx),
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


@asynccontextmanager
async def _host_keys(settings: GatewaySettings) -> AsyncIterator[HostKeys]:
    if not isinstance(settings.jwt_keys, JwksUrl):
        yield FixedKeys(settings.jwt_keys)
        return
    async with (
        open_jwks(settings.jwt_keys.url) as fetch,
        open_published_keys(fetch, [key.public for key in settings.signing_keys]) as keys,
    ):
        yield keys


def _metrics() -> CollectorRegistry:
    found = CollectorRegistry()
    ProcessCollector(registry=found)
    PlatformCollector(registry=found)
    GCCollector(registry=found)
    return found
