"""`python -m gateway.migrate`: bring the database to this release's schema.

Plain SQL files, forward only, each in one transaction, applied in order under an advisory lock, so that any number
of jobs may start at once. What was applied is recorded with its digest: a file that changed afterwards stops the
next run. A serving gateway never runs this by itself; it is a job before the roll-out.

Needs the owner of the schema, who must be allowed to create roles the first time. After the files it makes the
partitions of this month and the next.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Final

import msgspec

from gateway.store import schema
from shared import settings
from shared.digest import sha256_hex

_NAME: Final = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


class MigrateSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the job needs: one connection, as the schema's owner."""

    direct_url: str | None
    database_url: str | None


VARIABLES: Final = (
    settings.Var(
        field="direct_url",
        name="GATEWAY_DATABASE_DIRECT_URL",
        parse=settings.url("postgresql", "postgres"),
        help="PostgreSQL without a pooler in between, as the schema's owner; for migrations",
        default=None,
        secret=True,
    ),
    settings.Var(
        field="database_url",
        name="GATEWAY_DATABASE_URL",
        parse=settings.url("postgresql", "postgres"),
        help="used for migrations when GATEWAY_DATABASE_DIRECT_URL is not set",
        default=None,
        secret=True,
    ),
)


def migrations() -> list[schema.Migration]:
    """The files of this release, in order. Their numbers are 1, 2, 3, … without a gap."""
    found: list[schema.Migration] = []
    for entry in sorted(files("gateway").joinpath("migrations").iterdir(), key=lambda entry: entry.name):
        match = _NAME.fullmatch(entry.name)
        if match:
            sql = entry.read_bytes()
            found.append(schema.Migration(int(match[1]), entry.name, sha256_hex(sql), sql))
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise schema.SchemaError("the migration files are not numbered 1, 2, 3, …")
    return found


async def migrate(url: str, known: Sequence[schema.Migration] | None = None) -> list[str]:
    """Apply what is missing; the names of the files that were.

    Args:
        url: the owner's connection, without a transaction pooler.
        known: the migrations to bring the database to; this release's by default.

    Raises:
        SchemaError: an applied file has changed, or the database is newer than this release.
        psycopg.Error: the database refused; the failing file left nothing behind.
    """
    return await schema.apply(url, migrations() if known is None else known)


def main(env: Mapping[str, str]) -> int:
    """The job: 0 when the schema is this release's, else 1 with the reason on standard error."""
    try:
        applied = asyncio.run(migrate(_url(env)))
    except (settings.SettingError, schema.SchemaError, schema.DatabaseError) as error:
        sys.stderr.write(f"migrate: {error}\n")
        return 1
    for name in applied:
        sys.stdout.write(f"applied {name}\n")
    sys.stdout.write(f"the schema is current ({len(applied)} applied)\n")
    return 0


def _url(env: Mapping[str, str]) -> str:
    wanted = settings.load(MigrateSettings, VARIABLES, env)
    url = wanted.direct_url or wanted.database_url
    if url is None:
        raise settings.SettingError("GATEWAY_DATABASE_DIRECT_URL is required: the schema's owner")
    return url


if __name__ == "__main__":
    sys.exit(main(os.environ))
