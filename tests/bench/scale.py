"""What it costs to know ten thousand installs, and to have served ten thousand tenants: it should be nothing.

The installs, one for each of as many tenants, are rows like any other: with settings, and with an API key for each
tenant. They are put in and taken out again in turns, so that what the machine does meanwhile is on both sides.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import psycopg

from deploy.local.record import Extension, Stack
from tests.bench.execute import CONCURRENT, SECONDS, load_for, samples
from tests.bench.figures import median
from tests.bench.measure import measure
from tests.bench.path import through, undebugged
from tests.bench.progress import say
from tests.bench.rows import Row

INSTALLS: Final = 10_000
ROUNDS: Final = 5
ROUND_S: Final = 3.0
BAR: Final = 1.1
PREFIX: Final = "scale-"
SEEING_MAX_S: Final = 300.0  # for as many forks, 7 ms each on an idle machine

_INSERT: Final = (
    """insert into tenant_extension_install
         (id, tenant_id, registry_id, version_id, granted_caps, granted_egress, granted_secrets, installed_by)
       select gen_random_uuid(), %(prefix)s || n, i.registry_id, i.version_id, i.granted_caps, i.granted_egress,
              i.granted_secrets, 'bench'
         from tenant_extension_install i, generate_series(1, %(count)s) n where i.id = %(install)s::uuid""",
    """insert into tenant_extension_install_config (install_id, tenant_id, config)
       select id, tenant_id, '{"region": "emea"}' from tenant_extension_install
        where starts_with(tenant_id, %(prefix)s)""",
    """insert into api_key (id, tenant_id, secret_sha256, permissions)
       select substr(md5(tenant_id), 1, 16), tenant_id, sha256(convert_to(tenant_id, 'UTF8')), '{extension:read}'
         from tenant_extension_install where starts_with(tenant_id, %(prefix)s)""",
)
_DELETE: Final = tuple(
    f"delete from {table} where starts_with(tenant_id, %(prefix)s)"
    for table in ("api_key", "tenant_extension_install_config", "tenant_extension_install")
)
_TABLES: Final = "tenant_extension_install, tenant_extension_install_config, api_key"


def run(stack: Stack, directory: Path) -> list[Row]:
    """All rows of this bench."""
    extension = samples(stack)["quickjs"]
    return [*asyncio.run(_installs(stack, extension)), *_tenants(stack, extension)]


async def _installs(stack: Stack, extension: Extension) -> list[Row]:
    few: list[float] = []
    many: list[float] = []
    failures = 0
    async with undebugged(stack) as gateway:
        load = through(gateway.url, stack, extension)
        try:
            for number in range(ROUNDS):
                say(f"scale: round {number + 1} of {ROUNDS}")
                for times in (few, many):
                    (remove if times is few else insert)(stack.database_url, extension.install_id)
                    seen = measure(load, gateway.pid, connections=1, seconds=ROUND_S)
                    times.append(seen.p50_ms)
                    failures += seen.failures
                say(f"scale: p50 {few[-1]:.2f} ms, with {INSTALLS:,} more installs {many[-1]:.2f} ms")
        finally:
            remove(stack.database_url, extension.install_id)
    return [
        Row(
            name=f"gateway c=1 p50 with {INSTALLS:,} more installs",
            value=median(many),
            unit="ms",
            peer="before",
            peer_value=median(few),
            bar=BAR,
        ),
        Row(name="scale: failures", value=failures, unit="", bar=0),
    ]


def insert(database_url: str, install_id: str) -> None:
    """Install what `install_id` installs for `INSTALLS` further tenants."""
    _change(database_url, install_id, _INSERT)


def remove(database_url: str, install_id: str) -> None:
    """Take them out again."""
    _change(database_url, install_id, _DELETE)


def _change(database_url: str, install_id: str, statements: tuple[str, ...]) -> None:
    given = {"prefix": PREFIX, "count": INSTALLS, "install": install_id}
    with psycopg.connect(database_url, autocommit=True) as connection:
        with connection.transaction():
            for statement in statements:
                connection.execute(statement.encode(), given)
        connection.execute(f"vacuum analyze {_TABLES}".encode())  # as the server does by itself, a minute later


def _tenants(stack: Stack, extension: Extension) -> list[Row]:
    runner, one = stack.pids["runner"], load_for(stack, extension, "settled")
    few = measure(one, runner, connections=1, seconds=SECONDS)
    say(f"scale: {INSTALLS:,} tenants at the runner, {SEEING_MAX_S:.0f} s at most")
    crowd = [load_for(stack, extension, f"{PREFIX}{number}") for number in range(INSTALLS)]
    seen = measure(crowd, runner, connections=CONCURRENT, seconds=SEEING_MAX_S, once=True)
    many = measure(one, runner, connections=1, seconds=SECONDS)
    return [
        Row(
            name=f"runner c=1 p50 after {seen.answers:,} tenants",
            value=many.p50_ms,
            unit="ms",
            peer="before",
            peer_value=few.p50_ms,
        ),
        Row(name=f"runner, tenants it had never seen, c={CONCURRENT}", value=seen.per_s, unit="/s"),
        Row(name="runner, tenants it had never seen: not answered", value=seen.failures, unit=""),
    ]
