"""An install as a call needs it: one frozen value, parsed once from the database's row, shared by every call."""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.installs.grants import secret_granted
from gateway.policy.endpoints import Endpoint, EndpointPolicy
from gateway.policy.quotas import Used
from gateway.store.resolve import InstallRow
from shared.capabilities import INTERFACES
from shared.wire import SecretEnvelope

CLIENT_PORTAL: Final = "clientPortalMenu"
READ_SECRETS: Final = INTERFACES["secrets"]
FETCH: Final = INTERFACES["http"]

Scalar = str | int | float | bool | None


class ResolvedInstall(msgspec.Struct, frozen=True, kw_only=True):
    """Whose code runs, under which grants.

    Attributes:
        tenant_id: whose install it is.
        capabilities: the complete grant list; what is not in it is denied.
        runnable: whether there is a component at all (an extension may be UI only).
        enabled: whether the tenant lets it run.
        revoked: whether this version was withdrawn.
        generation: rises with every change of the install; host tokens carry it.
        timeout_ms, memory_mb: what the manifest asks for, or none.
        endpoints: the manifest's declarations, in its order.
        endpoint_policy: the install's own, or none.
        ui_entry: path of the UI's document, or none.
        hooks: names of the places where the UI hooks in.
        secrets: sealed, opened by the runner only; those a call of this install may need.
        secrets_version: of the secrets together.
        debug: whether the install's events go to the debug stream.
        used: in the hour that runs, when it was looked up.
    """

    tenant_id: str
    install_id: str
    extension_id: str
    version_id: str
    publisher: str
    name: str
    version: str
    content_hash: str
    capabilities: tuple[str, ...]
    egress: tuple[str, ...] = ()
    config: dict[str, str] = {}
    config_version: int = 0
    secrets: tuple[SecretEnvelope, ...] = ()
    secrets_version: int = 0
    runnable: bool = True
    enabled: bool = True
    revoked: bool = False
    generation: int = 1
    timeout_ms: int | None = None
    memory_mb: int | None = None
    endpoints: tuple[Endpoint, ...] = ()
    endpoint_policy: EndpointPolicy | None = None
    ui_entry: str | None = None
    hooks: frozenset[str] = frozenset()
    debug: bool = False
    used: Used = Used()

    @property
    def for_clients(self) -> bool:
        """Whether users of the client portal may call it."""
        return CLIENT_PORTAL in self.hooks


class _Camel(msgspec.Struct, frozen=True, rename="camel"):
    """A part of a stored manifest. It was validated at publish; here only what a call needs is read."""


class _Limits(_Camel, frozen=True, rename="camel"):
    timeout_ms: int | None = None
    memory_mb: int | None = None


class _Ui(_Camel, frozen=True, rename="camel"):
    entry: str
    hooks: dict[str, msgspec.Raw] = {}


class _Endpoint(_Camel, frozen=True, rename="camel"):
    method: str
    path: str
    timeout_ms: int | None = None
    schedulable: bool = False


class _Api(_Camel, frozen=True, rename="camel"):
    endpoints: tuple[_Endpoint, ...] = ()


class _Secret(_Camel, frozen=True, rename="camel"):
    name: str


class _Permissions(_Camel, frozen=True, rename="camel"):
    secrets: tuple[_Secret, ...] = ()


class _Manifest(_Camel, frozen=True, rename="camel"):
    permissions: _Permissions = _Permissions()
    limits: _Limits = _Limits()
    ui: _Ui | None = None
    api: _Api = _Api()


_manifests = msgspec.json.Decoder(_Manifest)
_configs = msgspec.json.Decoder(dict[str, Scalar])
_envelopes = msgspec.json.Decoder(tuple[SecretEnvelope, ...])


def resolved(tenant_id: str, row: InstallRow, *, debug: bool = False) -> ResolvedInstall:
    """The value of a row; it is debugged if either the row or the platform says so.

    Raises:
        msgspec.MsgspecError: a stored document is not what publish accepted.
    """
    manifest = _manifests.decode(row.manifest)
    return ResolvedInstall(
        tenant_id=tenant_id,
        install_id=row.install_id,
        extension_id=row.extension_id,
        version_id=row.version_id,
        publisher=row.publisher,
        name=row.name,
        version=row.version,
        content_hash=row.content_hash,
        capabilities=tuple(row.granted_caps),
        egress=tuple(row.granted_egress),
        config={key: _text(value) for key, value in _configs.decode(row.config).items() if value is not None},
        config_version=row.config_version,
        secrets=_secrets(row, manifest),
        secrets_version=row.secrets_version,
        runnable=row.runnable,
        enabled=row.enabled,
        revoked=row.revoked,
        generation=row.generation,
        timeout_ms=manifest.limits.timeout_ms,
        memory_mb=manifest.limits.memory_mb,
        endpoints=tuple(
            Endpoint(
                method=endpoint.method,
                path=endpoint.path,
                timeout_ms=endpoint.timeout_ms,
                schedulable=endpoint.schedulable,
            )
            for endpoint in manifest.api.endpoints
        ),
        endpoint_policy=row.endpoint_policy,
        ui_entry=manifest.ui.entry if manifest.ui else None,
        hooks=frozenset(manifest.ui.hooks) if manifest.ui else frozenset(),
        debug=row.debug_enabled or debug,
        used=Used(invocations=row.used_invocations, cpu_ms=row.used_cpu_ms, egress_bytes=row.used_egress_bytes),
    )


def _secrets(row: InstallRow, manifest: _Manifest) -> tuple[SecretEnvelope, ...]:
    """The boxes that go along: for a guest that may read secrets all that are granted, else those it can have injected."""
    named = bool(manifest.permissions.secrets)
    granted = [
        one
        for one in _envelopes.decode(row.secrets)
        if secret_granted(one.name, named=named, asked=one.name in row.asked_secrets, granted=row.granted_secrets)
    ]
    if READ_SECRETS in row.granted_caps:
        return tuple(granted)
    if FETCH in row.granted_caps:
        return tuple(one for one in granted if one.hosts)
    return ()


def _text(value: Scalar) -> str:
    # A guest reads every setting as text; numbers and booleans as JSON writes them.
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
