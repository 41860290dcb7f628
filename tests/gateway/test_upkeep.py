"""What a gateway does by the clock."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from gateway.app import open_gateway
from gateway.settings import GatewaySettings
from shared.keys import PrivateKey
from shared.limits import STORAGE_SWEEP_MAX_COUNT
from tests.gateway.services import DatabaseUrls, owner
from tests.gateway.storage.keeping import counted, fill, keeper, let_expire


async def test_months_are_there_without_a_migration(settings: GatewaySettings, database: DatabaseUrls) -> None:
    async with owner(database.owner) as connection:
        cursor = await connection.execute(
            "select inhrelid::regclass::text from pg_inherits where inhparent = 'extension_execution_log'::regclass"
        )
        for (name,) in await cursor.fetchall():
            await connection.execute(f"drop table {name}")  # type: ignore[arg-type]
        async with open_gateway(settings), asyncio.timeout(10):
            count = 0
            while count < 2:
                await asyncio.sleep(0.02)
                cursor = await connection.execute(
                    "select count(*) from pg_inherits where inhparent = 'extension_execution_log'::regclass"
                )
                row = await cursor.fetchone()
                assert row is not None
                assert isinstance(row[0], int)
                count = row[0]


async def test_records_past_their_time_are_removed(settings: GatewaySettings, database: DatabaseUrls) -> None:
    asker = keeper(database, "acme")
    fill(database, asker, 2 * STORAGE_SWEEP_MAX_COUNT + 1, 1)
    let_expire(database, asker)
    fill(database, asker, 3, 1, "kept")
    async with open_gateway(settings), owner(database.owner) as connection, asyncio.timeout(20):
        left: object = None
        while left != (0,):
            await asyncio.sleep(0.02)
            cursor = await connection.execute("select count(*) from ext_storage_records where expires_at <= now()")
            left = await cursor.fetchone()
    assert counted(database, asker)[2] == {"kept": 3}


async def test_a_trust_bundle_that_changed_is_read_again(
    settings: GatewaySettings, publisher_key: PrivateKey, tmp_path: Path
) -> None:
    file = tmp_path / "trust.pem"
    file.write_text(publisher_key.public.pem())
    async with open_gateway(msgspec.structs.replace(settings, trust_bundle=str(file))) as ctx:
        fresh = PrivateKey(bytes([77]) * 32)
        file.write_text(publisher_key.public.pem() + fresh.public.pem())
        async with asyncio.timeout(20):
            while fresh.key_id not in ctx.trust.current().keys:  # noqa: ASYNC110  # it tells nobody
                await asyncio.sleep(0.05)
