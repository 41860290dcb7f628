"""Versions that wait for an administrator's consent: at most one an install, beside the version that serves."""

from __future__ import annotations

from gateway.store.installs import Granted, Install
from gateway.store.pool import Tx


async def ask(tx: Tx, *, install: Install, version_id: str, config: bytes | None, actor: str) -> None:
    """Have a version wait, in place of whichever waited before."""
    await tx.execute(
        """insert into tenant_extension_install_upgrade (install_id, tenant_id, version_id, config, requested_by)
           values (%s, %s, %s, %s, %s)
           on conflict (install_id) do update
              set version_id = excluded.version_id, config = excluded.config, requested_by = excluded.requested_by,
                  requested_at = now()""",
        (install.id, install.tenant_id, version_id, None if config is None else config.decode(), actor),
    )


async def forget(tx: Tx, install_id: str) -> bool:
    """Nothing waits any more; whether something did."""
    cursor = await tx.execute("delete from tenant_extension_install_upgrade where install_id = %s", (install_id,))
    return cursor.rowcount == 1


async def put_version(tx: Tx, install_id: str, version_id: str, granted: Granted, *, ends_calls: bool) -> None:
    """Install another version with its grants.

    Args:
        ends_calls: whether the generation rises, so that host tokens of running calls end.
    """
    await tx.execute(
        """update tenant_extension_install
              set version_id = %(version)s, granted_caps = %(caps)s, granted_egress = %(egress)s,
                  secrets_version = secrets_version + (granted_secrets is distinct from %(secrets)s::text[])::integer,
                  granted_secrets = %(secrets)s, generation = generation + %(ends)s::integer, updated_at = now()
            where id = %(install)s""",
        {
            "install": install_id,
            "version": version_id,
            "caps": list(granted.capabilities),
            "egress": list(granted.egress),
            "secrets": list(granted.secrets),
            "ends": 1 if ends_calls else 0,
        },
    )


async def free_secrets(tx: Tx, install_id: str) -> list[str]:
    """Names of secrets that were set for a manifest that names none."""
    cursor = await tx.execute(
        "select name from tenant_extension_install_secrets where install_id = %s and not asked order by name",
        (install_id,),
    )
    return [str(row[0]) for row in await cursor.fetchall()]


async def bind_secrets(tx: Tx, install_id: str, *, asked: list[str], free: list[str]) -> None:
    """Secrets whose names a version asks for need their grant from now on; `free` ones need none (again)."""
    await tx.execute(
        """update tenant_extension_install_secrets set asked = name = any(%(asked)s::text[])
            where install_id = %(install)s and name = any(%(asked)s::text[] || %(free)s::text[])
              and asked is distinct from (name = any(%(asked)s::text[]))""",
        {"install": install_id, "asked": asked, "free": free},
    )
