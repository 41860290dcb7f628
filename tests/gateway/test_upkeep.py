"""What a gateway does by the clock."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from gateway.app import open_gateway
from gateway.settings import GatewaySettings
from shared.keys import PrivateKey
from tests.gateway.services import DatabaseUrls, owner


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
