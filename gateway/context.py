"""Everything an endpoint may touch, in one frozen value.

`app.open_gateway` builds it once, before the first request, and closes what it holds in reverse order. Doors get
it by closure (`routes(ctx)`); nothing is looked up in a global or in the request's scope.

The parts that others own are opened by one async context manager each, called by `app.py` in this order:

    gateway.proxy.client.open_runner(settings, gateway_key, metrics)         -> RunnerClient
    gateway.audit.log.open_execution_log(store, settings, metrics)           -> ExecutionLog
    gateway.installs.resolve.open_resolver(store, settings)                  -> InstallResolver
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from prometheus_client import CollectorRegistry
    from structlog.typing import FilteringBoundLogger

    from gateway.audit.denials import Denials
    from gateway.audit.log import ExecutionLog
    from gateway.debug.debugging import Debugging
    from gateway.events.service import Events
    from gateway.identity.authenticate import Identity
    from gateway.installs.denied import InstallDenied
    from gateway.installs.manage import Installs
    from gateway.installs.resolve import InstallResolver
    from gateway.installs.secrets import InstallSecrets
    from gateway.objects.client import ObjectStore
    from gateway.policy.limiter import Limiter
    from gateway.policy.stops import Stops
    from gateway.proxy.client import RunnerClient
    from gateway.proxy.dispatch import Dispatch
    from gateway.proxy.keyed import Keyed
    from gateway.proxy.unattended import Unattended
    from gateway.registry.publish import Publishing
    from gateway.registry.signatures import Signatures
    from gateway.schedules.manage import Schedules
    from gateway.settings import GatewaySettings
    from gateway.storage.records import Records
    from gateway.store.pool import Database
    from shared.keys import PrivateKey
    from shared.trust import TrustStore


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayContext:
    """One gateway process.

    Attributes:
        settings: what was configured; never changes while the process lives.
        store: PostgreSQL: `tenant(tenant_id)` and `platform()` transactions.
        objects: the bundle bucket.
        identity: turns the request's headers into a `Principal`, mints iframe sessions.
        trust: the signature trust anchors, re-read when they change.
        gateway_key: signs tokens for runners, the compiler and iframes.
        runner: the way to `POST /v1/execute`.
        dispatch: runs calls that may run.
        limiter: how often tenants and installs may be called.
        keyed: runs those that must not run twice.
        unattended: calls handlers when nobody asked for it.
        audit: the execution log: opened before dispatch, closed behind the answer.
        denials: counts what guests were denied, behind the answer.
        resolver: which install a request means, cached.
        signatures: what counts as vouched for.
        stops: which calls an operator stopped.
        publishing: turns uploads into versions.
        installs: what tenants install, upgrade, grant, configure, export and remove.
        secrets: what installs keep sealed.
        denied: which hosts installs were denied.
        records: what extensions keep.
        schedules: which endpoints of installs the platform calls by the clock.
        events: what extensions and the host application tell extensions.
        debug: the live debug stream and its viewers.
        metrics: the registry `/metrics` renders.
        schema_version: the newest migration this release knows.
        drain: set when the process was asked to end: what runs may finish, nothing new should come.
        log: a structlog logger bound to nothing yet.
    """

    settings: GatewaySettings
    store: Database
    objects: ObjectStore
    identity: Identity
    trust: TrustStore
    gateway_key: PrivateKey
    runner: RunnerClient
    dispatch: Dispatch
    keyed: Keyed
    unattended: Unattended
    limiter: Limiter
    audit: ExecutionLog
    denials: Denials
    resolver: InstallResolver
    signatures: Signatures
    stops: Stops
    publishing: Publishing
    installs: Installs
    secrets: InstallSecrets
    denied: InstallDenied
    records: Records
    schedules: Schedules
    events: Events
    debug: Debugging
    metrics: CollectorRegistry
    schema_version: int
    drain: asyncio.Event
    log: FilteringBoundLogger
