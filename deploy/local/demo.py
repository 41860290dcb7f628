"""What stands in a fresh stack: two tenants with their people, and the samples installed for both.

A tenant exists by its credentials; nothing has to be made for it. `acme` and `globex` are two, so that isolation can
be seen. The samples belong to the publisher `alga`, whose account is the operator's tenant `platform`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from deploy.local import tokens
from deploy.local.postgres import offer_to_everyone
from deploy.local.private import write_private
from deploy.local.progress import Progress
from deploy.local.publish import Installed, Published, install, publish, published
from deploy.local.record import Extension, Tenant
from deploy.local.rest import RefusedError, Rest, connected
from deploy.local.samples import Packed
from deploy.local.services import DATABASE, Surroundings
from gateway.identity import api_keys
from gateway.store import api_keys as stored_keys
from gateway.store.pool import open_database

TENANTS: Final = {"acme": "Acme Corporation", "globex": "Globex Industries"}
API_KEY_NAME: Final = "local stack"


class Content(msgspec.Struct, frozen=True):
    """Who and what stands in the stack."""

    operator_token: str
    tenants: tuple[Tenant, ...]
    extensions: tuple[Extension, ...]


async def populate(around: Surroundings, packed: Sequence[Packed], progress: Progress) -> Content:
    """Make the tenants' credentials, publish the samples and install them for each tenant.

    Raises:
        StackError: the gateway refused something, or a sample was rejected. May come in an `ExceptionGroup`.
    """
    addresses = around.addresses
    operator_token = tokens.mint(around.keys.host, tokens.operator())
    async with connected(addresses.url(addresses.gateway), operator_token) as operator:
        tenants = await _tenants(around, operator)
        progress.done(f"tenants {' and '.join(tenant.id for tenant in tenants)}")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_extension(around, operator, tenants, one, progress)) for one in packed]
    return Content(operator_token, tenants, tuple(extension for task in tasks for extension in task.result()))


async def _extension(
    around: Surroundings, operator: Rest, tenants: Sequence[Tenant], sample: Packed, progress: Progress
) -> list[Extension]:
    version = await _version(around, operator, sample, progress)
    await offer_to_everyone(around.postgres, DATABASE, sample.manifest.publisher)
    installs = [await install(operator.acting_as(tenant.admin_token), version, sample) for tenant in tenants]
    progress.done(f"{sample.name} {version.version} is installed for {' and '.join(tenant.id for tenant in tenants)}")
    return [_described(sample, made, tenant) for made, tenant in zip(installs, tenants, strict=True)]


async def _version(around: Surroundings, operator: Rest, sample: Packed, progress: Progress) -> Published:
    """The sample's version in the registry; the one published earlier when its sources have changed since."""
    note = around.directory / "samples" / f"{sample.name}.json"
    earlier = msgspec.json.decode(note.read_bytes(), type=Published) if note.exists() else None
    if earlier is not None and not await published(operator, earlier):
        earlier = None  # the database was removed
    if earlier is not None and earlier.content_hash == sample.digest.content_hash:
        return earlier
    progress.begun(f"publishing {sample.name} (compiled once; kept in the bundle store)")
    try:
        version = await publish(operator, sample, around.keys.publisher.key())
    except RefusedError as error:
        if error.code != "version_exists" or earlier is None:
            raise
        progress.note(f"{sample.name} changed but its version did not: the one published earlier stays")
        progress.note("raise the version in its manifest.json, or `make reset`")
        return earlier
    write_private(note, msgspec.json.encode(version))
    return version


def _described(sample: Packed, made: Installed, tenant: Tenant) -> Extension:
    return Extension(
        id=made.extension_id,
        name=f"{sample.manifest.publisher}.{sample.manifest.name}",
        version=made.version,
        content_hash=made.content_hash,
        install_id=made.install_id,
        tenant_id=tenant.id,
    )


# ---- credentials --------------------------------------------------------------------------------------------


async def _tenants(around: Surroundings, rest: Rest) -> tuple[Tenant, ...]:
    kept = around.directory / "keys" / "api-keys.json"
    known = msgspec.json.decode(kept.read_bytes(), type=dict[str, str]) if kept.exists() else {}
    for tenant in TENANTS:
        if tenant not in known or not await _works(rest.acting_as(known[tenant])):
            known[tenant] = await _new_api_key(around, tenant)
            write_private(kept, msgspec.json.encode(known))
    host = around.keys.host
    return tuple(
        Tenant(
            id=tenant,
            name=name,
            admin_token=tokens.mint(host, tokens.administrator(tenant)),
            user_token=tokens.mint(host, tokens.user(tenant)),
            client_token=tokens.mint(host, tokens.client(tenant)),
            api_key=known[tenant],
        )
        for tenant, name in TENANTS.items()
    )


async def _works(rest: Rest) -> bool:
    """Whether the credential of `rest` is accepted: its key may be from before a database that was removed."""
    try:
        await rest.get("/api/installs", msgspec.Raw)
    except RefusedError as error:
        if error.status == 401:
            return False
        raise
    return True


async def _new_api_key(around: Surroundings, tenant: str) -> str:
    passwords, pg = around.keys.passwords, around.postgres
    app = pg.address(DATABASE, "gateway_app", passwords.database_app)
    platform = pg.address(DATABASE, "gateway_platform", passwords.database_platform)
    made = api_keys.generate()
    async with open_database(app, platform, app) as store, store.tenant(tenant) as tx:
        await stored_keys.insert(
            tx,
            key_id=made.id,
            tenant_id=tenant,
            name=API_KEY_NAME,
            secret_sha256=made.secret_sha256,
            permissions=list(tokens.ADMINISTRATOR),
            created_by="deploy.local",
        )
    return made.text
