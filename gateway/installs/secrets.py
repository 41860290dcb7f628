"""Secrets of an install: set, bound to hosts and time, listed by name, removed. Never read back.

A value is sealed before the transaction that stores it begins, and nothing keeps it longer. Which names there can be is
the manifest's business; a manifest that names none leaves them to the administrator. Setting a secret that was asked
for grants it: the same person decides, and does so by name.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway.identity.actor import Actor
from gateway.installs.grants import secret_granted
from gateway.installs.sealing import Sealed, Sealer
from gateway.installs.views import manifest_of
from gateway.store import audit_log, installs, notices, secrets
from gateway.store.installs import Install
from gateway.store.pool import Database, Tx
from gateway.store.secrets import Box, Secret, Terms
from shared.egress import EntryError, parse_entries
from shared.errors import Conflict, InvalidRequest, NotFound, NotInstalled
from shared.limits import SECRET_HOSTS_MAX_COUNT, SECRET_SEALED_MAX_BYTES, SECRET_VALUE_MAX_BYTES, SECRETS_MAX_COUNT
from shared.manifest_parts import SecretAsk, SecretName
from shared.sealing import SecretPlaintext, encode_plaintext

Moment: TypeAlias = Annotated[datetime, Meta(tz=True)]


class SecretWrite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be kept under one name. Its `repr` shows nothing of it.

    Attributes:
        value: the plaintext; left out, only the terms of a secret that is there are changed.
        expires_at: when it ends; `null` or left out with a new value: never.
        hosts: where it may be injected, as egress entries; left out: as before, at first as the manifest asks.
    """

    value: str | UnsetType = UNSET
    expires_at: Moment | UnsetType | None = UNSET
    hosts: tuple[str, ...] | UnsetType = UNSET

    def __repr__(self) -> str:
        return "SecretWrite(…)"


_Wanted: TypeAlias = Mapping[str, str | SecretWrite | None]

SecretsRequest: TypeAlias = dict[SecretName, str | SecretWrite | None]
"""`PUT /api/installs/{id}/secrets`: a value, terms, or `null` to remove; what is not named stays as it is."""


class SecretView(msgspec.Struct, frozen=True, kw_only=True):
    """One secret that is set, or asked for and not set yet."""

    name: str
    is_set: bool = msgspec.field(name="set")
    granted: bool = False
    description: str = ""
    required: bool = False
    hosts: list[str] = []
    expires_at: datetime | None = None
    expired: bool = False
    version: int | None = None
    algorithm: str | None = None
    key_id: str | None = None
    updated_at: datetime | None = None
    updated_by: str | None = None


class SecretsView(msgspec.Struct, frozen=True, kw_only=True):
    """Every secret of an install, by name. `version` rises with every change."""

    secrets: list[SecretView]
    version: int


class InstallSecrets:
    """The secrets of every tenant's installs, one tenant at a time.

    Args:
        store: where the boxes are.
        sealer: makes them.
    """

    def __init__(self, store: Database, sealer: Sealer) -> None:
        self._store = store
        self._sealer = sealer

    async def listed(self, actor: Actor, install_id: str) -> SecretsView:
        """What is set, and what is asked for. Raises `NotInstalled`."""
        async with self._store.tenant(actor.tenant_id) as tx:
            install = _present(await installs.by_id(tx, install_id))
            return await _view(tx, install)

    async def change(self, actor: Actor, install_id: str, wanted: _Wanted) -> SecretsView:
        """Set, bind or remove secrets, all of them or none.

        Raises:
            NotInstalled: there is no such install.
            InvalidRequest: a name, value, time or host that cannot be; says what could. Never quotes a value.
            SecretUnavailable: nothing can be sealed right now.
            Conflict: the install was changed in the meantime.
        """
        async with self._store.tenant(actor.tenant_id) as tx:
            install = _present(await installs.by_id(tx, install_id))
            await _terms_of_all(tx, install, wanted)
        # Before the transaction: sealing may ask another service, which nobody's lock should wait for.
        sealed = {name: await self._seal(install, name, value) for name, value in _values(wanted).items()}
        gone = [name for name, write in wanted.items() if write is None]
        async with self._changing(actor, install_id) as (tx, now):
            if now.version_id != install.version_id:
                raise Conflict("the install was upgraded in the meantime; read its secrets again")
            terms = await _terms_of_all(tx, now, wanted)  # others may have written meanwhile
            version = await secrets.changed(tx, now.id, [name for name in sealed if name in _asks(now)])
            await self._write(tx, actor, now, version, sealed, terms)
            removed = await secrets.remove(tx, now.id, gone)
            await audit_log.record(
                tx,
                actor.did(
                    "install.secrets",
                    "install",
                    now.id,
                    set=sorted(sealed),
                    bound=sorted(set(terms) - set(sealed)),
                    removed=removed,
                    version=version,
                ),
            )
            return await _view(tx, _present(await installs.by_id(tx, now.id)))

    async def remove(self, actor: Actor, install_id: str, name: str) -> SecretsView:
        """Remove one secret. Raises `NotInstalled`, or `NotFound` when it is not set."""
        async with self._store.tenant(actor.tenant_id) as tx:
            install = _present(await installs.by_id(tx, install_id))
            present = any(secret.name == name for secret in await secrets.of_install(tx, install.id))
        if not present:
            raise NotFound("no such secret is set; `GET …/secrets` lists those that are")
        return await self.change(actor, install_id, {name: None})

    async def _seal(self, install: Install, name: str, value: str) -> Sealed:
        plaintext = SecretPlaintext(tenant=install.tenant_id, install=install.id, name=name, value=value)
        data = encode_plaintext(plaintext)
        if len(data) > SECRET_SEALED_MAX_BYTES:
            raise InvalidRequest(
                f"{name}: the value has too many control characters; encode it, for instance as base64"
            )
        return await self._sealer.seal(data)

    async def _write(
        self,
        tx: Tx,
        actor: Actor,
        install: Install,
        version: int,
        sealed: Mapping[str, Sealed],
        terms: Mapping[str, Terms],
    ) -> None:
        asks = _asks(install)
        for name, wanted in terms.items():
            made = sealed.get(name)
            if made is None:
                await secrets.put_terms(tx, install.id, wanted, version=version, actor=actor.name)
                continue
            box = Box(
                name=name,
                algorithm=made.algorithm,
                key_id=made.key_id,
                ciphertext=made.ciphertext,
                hosts=wanted.hosts,
                expires_at=wanted.expires_at,
                asked=name in asks,
            )
            await secrets.put(tx, install, box, version=version, actor=actor.name)

    @asynccontextmanager
    async def _changing(self, actor: Actor, install_id: str) -> AsyncIterator[tuple[Tx, Install]]:
        async with self._store.tenant(actor.tenant_id) as tx:
            install = _present(await installs.by_id(tx, install_id, lock=True))
            yield tx, install
            change = notices.InstallChanged(
                tenant_id=install.tenant_id, registry_id=install.registry_id, install_id=install.id
            )
            await notices.announce(tx, change)


def _present(install: Install | None) -> Install:
    if install is None or install.status == "uninstalled":
        raise NotInstalled("no such extension is installed for this tenant")
    return install


def _asks(install: Install) -> dict[str, SecretAsk]:
    return {ask.name: ask for ask in manifest_of(install.manifest).permissions.secrets}


async def _view(tx: Tx, install: Install) -> SecretsView:
    asks, now = _asks(install), datetime.now(UTC)
    present = {secret.name: secret for secret in await secrets.of_install(tx, install.id)}
    return SecretsView(
        secrets=[
            msgspec.structs.replace(
                _one(name, present.get(name), asks.get(name), now),
                granted=secret_granted(
                    name,
                    named=bool(asks),
                    asked=name in present and present[name].asked,
                    granted=install.granted_secrets,
                ),
            )
            for name in sorted(present.keys() | asks.keys())
        ],
        version=await secrets.version(tx, install.id),
    )


def _one(name: str, secret: Secret | None, ask: SecretAsk | None, now: datetime) -> SecretView:
    asked = SecretView(
        name=name,
        is_set=False,
        description=ask.description if ask else "",
        required=ask.required if ask else False,
        hosts=list(ask.hosts) if ask else [],
    )
    if secret is None:
        return asked
    return msgspec.structs.replace(
        asked,
        is_set=True,
        hosts=secret.hosts,
        expires_at=secret.expires_at,
        expired=secret.expires_at is not None and secret.expires_at <= now,
        version=secret.version,
        algorithm=secret.algorithm,
        key_id=secret.key_id,
        updated_at=secret.updated_at,
        updated_by=secret.updated_by,
    )


# ---- what may be asked --------------------------------------------------------------------------------------


def _as_write(write: str | SecretWrite) -> SecretWrite:
    return SecretWrite(value=write) if isinstance(write, str) else write


def _values(wanted: _Wanted) -> dict[str, str]:
    """The new plaintexts among what is wanted."""
    writes = {name: _as_write(write) for name, write in wanted.items() if write is not None}
    return {name: write.value for name, write in writes.items() if isinstance(write.value, str)}


async def _terms_of_all(tx: Tx, install: Install, wanted: _Wanted) -> dict[str, Terms]:
    """The terms of all that will be set. Raises `InvalidRequest` for what cannot be."""
    known, asks = {secret.name: secret for secret in await secrets.of_install(tx, install.id)}, _asks(install)
    _check_names(wanted, asks, known)
    return {
        name: _terms(name, _as_write(write), known.get(name), asks.get(name))
        for name, write in wanted.items()
        if write is not None
    }


def _check_names(wanted: Mapping[str, object], asks: Mapping[str, SecretAsk], known: Mapping[str, Secret]) -> None:
    if not wanted:
        raise InvalidRequest("name at least one secret: {name: value}, or {name: null} to remove it")
    unknown = sorted(name for name, write in wanted.items() if write is not None and asks and name not in asks)
    if unknown:
        raise InvalidRequest(
            f"{', '.join(unknown)}: this version asks for {', '.join(sorted(asks))}", path="$", valid=sorted(asks)
        )
    left = (known.keys() | wanted.keys()) - {name for name, write in wanted.items() if write is None}
    if len(left) > SECRETS_MAX_COUNT:
        raise InvalidRequest(f"an install has at most {SECRETS_MAX_COUNT} secrets")


def _terms(name: str, write: SecretWrite, known: Secret | None, ask: SecretAsk | None) -> Terms:
    if isinstance(write.value, str):
        _check_value(name, write.value)
    elif known is None:
        raise InvalidRequest(f"{name}: value is missing, and none is set yet", path=f"$.{name}.value")
    hosts = write.hosts
    if isinstance(hosts, UnsetType):
        hosts = tuple(known.hosts) if known is not None else ask.hosts if ask is not None else ()
    expires_at = write.expires_at
    if isinstance(expires_at, UnsetType):
        expires_at = known.expires_at if known is not None and write.value is UNSET else None
    elif expires_at is not None and expires_at <= datetime.now(UTC):
        raise InvalidRequest(f"{name}: expires_at must lie in the future", path=f"$.{name}.expires_at")
    return Terms(name=name, hosts=_hosts(name, hosts), expires_at=expires_at)


def _check_value(name: str, value: str) -> None:
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise InvalidRequest(f"{name}: the value is not text", path=f"$.{name}") from None
    if not 1 <= size <= SECRET_VALUE_MAX_BYTES:
        raise InvalidRequest(
            f"{name}: a value has 1 to {SECRET_VALUE_MAX_BYTES} bytes; send null to remove a secret", path=f"$.{name}"
        )


def _hosts(name: str, hosts: tuple[str, ...]) -> tuple[str, ...]:
    if len(hosts) > SECRET_HOSTS_MAX_COUNT:
        raise InvalidRequest(f"{name}: at most {SECRET_HOSTS_MAX_COUNT} hosts", path=f"$.{name}.hosts")
    try:
        return tuple(str(entry) for entry in parse_entries(hosts))
    except EntryError as error:
        raise InvalidRequest(f"{name}: {error}", path=f"$.{name}.hosts") from error
