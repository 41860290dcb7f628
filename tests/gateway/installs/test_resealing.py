"""Moving every secret to another key: in batches, resumable, and never over what somebody wrote in the meantime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg
import pytest

from gateway.installs.resealing import Moved, key_uses, move_all
from gateway.store.platform import secrets
from gateway.store.pool import Database
from runner.secrets.keyring import Keyring, SealedBoxes
from shared.errors import BadGateway, PlatformError
from shared.sealing import ALGORITHM, SealingKey, SecretPlaintext, encode_plaintext
from shared.wire import ResealFailure, ResealResponse, SecretEnvelope
from tests.gateway.seeds import Seed, seed
from tests.gateway.services import DatabaseUrls

OLD, NEW, LOST = (SealingKey(bytes([number]) * 32) for number in (1, 2, 3))


class Runner:
    """A runner with both keys; `before` runs before each answer."""

    def __init__(self) -> None:
        self._keyring = Keyring(SealedBoxes([OLD, NEW]))
        self.batches: list[int] = []
        self.before = lambda: None

    async def reseal(self, envelopes: Sequence[SecretEnvelope], to_key_id: str) -> ResealResponse:
        self.before()
        self.batches.append(len(envelopes))
        found: list[SecretEnvelope | None] = []
        failures: list[ResealFailure] = []
        for index, envelope in enumerate(envelopes):
            try:
                found.append(await self._keyring.reseal(envelope, to_key_id))
            except PlatformError as error:
                found.append(None)
                failures.append(ResealFailure(index=index, code=error.code, message=error.detail))
        return ResealResponse(envelopes=tuple(found), failures=tuple(failures))


def box(install: Seed, name: str, value: str, key: SealingKey = OLD) -> bytes:
    owner = {"tenant": install.tenant_id, "install": install.install_id, "name": name}
    return key.public.seal(encode_plaintext(SecretPlaintext(value=value, **owner)))


def keep(database: DatabaseUrls, install: Seed, name: str, value: str, key: SealingKey = OLD) -> None:
    with psycopg.connect(database.owner, autocommit=True) as connection:
        connection.execute(
            """insert into tenant_extension_install_secrets
                 (install_id, tenant_id, name, algorithm, key_id, ciphertext, hosts, version)
               values (%s, %s, %s, %s, %s, %s, '{https://a.example}', 1)
               on conflict (install_id, name) do update
                  set key_id = excluded.key_id, ciphertext = excluded.ciphertext, version = 2""",
            (install.install_id, install.tenant_id, name, ALGORITHM, key.key_id, box(install, name, value, key)),
        )


def kept(database: DatabaseUrls, install: Seed) -> dict[str, tuple[Any, ...]]:
    with psycopg.connect(database.owner) as connection:
        rows = connection.execute(
            "select name, key_id, ciphertext, hosts, version from tenant_extension_install_secrets"
            " where install_id = %s",
            (install.install_id,),
        ).fetchall()
    return {str(row[0]): row[1:] for row in rows}


def value_of(row: tuple[Any, ...]) -> str:
    key = next(one for one in (OLD, NEW, LOST) if one.key_id == row[0])
    found: str = msgspec.json.decode(key.open(row[1]))["value"]
    return found


@pytest.fixture
def installs(database: DatabaseUrls) -> list[Seed]:
    """Three tenants with three secrets each, sealed with the old key."""
    found = [seed(database, f"t{number}") for number in range(3)]
    for install in found:
        for name in ("a", "b", "c"):
            keep(database, install, name, f"{install.tenant_id}-{name}-canary")
    return found


@pytest.mark.parametrize("batch", [1, 2, 4, 9, 50])
async def test_every_secret_of_every_tenant_moves_and_keeps_its_value_and_terms(
    store: Database, database: DatabaseUrls, installs: list[Seed], batch: int
) -> None:
    runner, told = Runner(), list[int]()
    moved = await move_all(store, runner, NEW.key_id, batch=batch, progress=told.append)
    assert moved == Moved(count=9, stuck=())
    assert max(runner.batches) <= batch
    assert sum(runner.batches) == 9
    assert told[-1] == 9
    for install in installs:
        for name, row in kept(database, install).items():
            assert (row[0], value_of(row)) == (NEW.key_id, f"{install.tenant_id}-{name}-canary")
            assert row[2:] == (["https://a.example"], 1)
    (use,) = await key_uses(store)
    assert (use.key_id, use.count) == (NEW.key_id, 9)


async def test_a_run_that_was_interrupted_goes_on_where_it_ended(
    store: Database, database: DatabaseUrls, installs: list[Seed]
) -> None:
    runner = Runner()

    def interrupt() -> None:
        if len(runner.batches) == 2:
            raise BadGateway("the runner went away")

    runner.before = interrupt
    with pytest.raises(BadGateway):
        await move_all(store, runner, NEW.key_id, batch=2)
    assert {use.key_id: use.count for use in await key_uses(store)} == {NEW.key_id: 4, OLD.key_id: 5}
    again = Runner()
    assert (await move_all(store, again, NEW.key_id, batch=2)).count == 5
    assert sum(again.batches) == 5
    assert (await move_all(store, again, NEW.key_id)).count == 0


async def test_what_cannot_be_opened_stays_and_is_named_and_the_rest_moves(
    store: Database, database: DatabaseUrls, installs: list[Seed]
) -> None:
    keep(database, installs[0], "b", "lost-canary", LOST)
    moved = await move_all(store, Runner(), NEW.key_id, batch=2)
    assert moved.count == 8
    (stuck,) = moved.stuck
    assert (stuck.tenant_id, stuck.name, stuck.key_id, stuck.code) == ("t0", "b", LOST.key_id, "secret_unavailable")
    assert "canary" not in stuck.message
    assert kept(database, installs[0])["b"][0] == LOST.key_id


async def test_a_secret_that_is_set_in_the_meantime_is_left_alone(
    store: Database, database: DatabaseUrls, installs: list[Seed]
) -> None:
    runner = Runner()
    runner.before = lambda: keep(database, installs[1], "a", "set-just-now")
    assert (await move_all(store, runner, NEW.key_id)).count == 8
    assert value_of(kept(database, installs[1])["a"]) == "set-just-now"
    runner.before = lambda: None
    assert (await move_all(store, runner, NEW.key_id)).count == 1
    row = kept(database, installs[1])["a"]
    assert (row[0], value_of(row)) == (NEW.key_id, "set-just-now")


@pytest.mark.parametrize(
    "changes",
    [{"name": "b"}, {"key_id": OLD.key_id}, {"ciphertext_b64": "?"}, {"ciphertext_b64": "é"}],
    ids=["name", "key", "base64", "ascii"],
)
async def test_an_answer_for_another_secret_or_key_changes_nothing(
    store: Database, database: DatabaseUrls, changes: dict[str, str]
) -> None:
    install = seed(database, "t9")
    keep(database, install, "a", "canary")

    class Confused(Runner):
        async def reseal(self, envelopes: Sequence[SecretEnvelope], to_key_id: str) -> ResealResponse:
            found = await super().reseal(envelopes, to_key_id)
            assert found.envelopes[0] is not None
            return ResealResponse(envelopes=(msgspec.structs.replace(found.envelopes[0], **changes),))

    before = kept(database, install)
    with pytest.raises(BadGateway):
        await move_all(store, Confused(), NEW.key_id)
    assert kept(database, install) == before


async def test_without_secrets_no_runner_is_asked(store: Database) -> None:
    runner = Runner()
    assert await move_all(store, runner, NEW.key_id) == Moved(count=0, stuck=())
    assert runner.batches == []
    assert await key_uses(store) == []


@pytest.mark.parametrize(
    "statement",
    [
        "update tenant_extension_install_secrets set hosts = '{https://evil.example}'",
        "update tenant_extension_install_secrets set tenant_id = 'globex'",
        "update tenant_extension_install_secrets set expires_at = null",
        "update tenant_extension_install_secrets set name = 'x'",
        "delete from tenant_extension_install_secrets",
        "insert into tenant_extension_install_secrets (name) values ('x')",
    ],
)
async def test_sealing_anew_may_change_the_box_and_nothing_else(
    store: Database, installs: list[Seed], statement: str
) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with store.platform() as tx:
            await tx.execute(statement)  # type: ignore[arg-type]
    async with store.platform() as tx:
        assert len(await secrets.of_other_keys(tx, NEW.key_id, None, 50)) == 9


async def test_a_tenant_cannot_hang_a_secret_on_another_ones_install(
    store: Database, database: DatabaseUrls, installs: list[Seed]
) -> None:
    mine, theirs = installs[:2]
    statement = """insert into tenant_extension_install_secrets
                     (install_id, tenant_id, name, algorithm, key_id, ciphertext, version)
                   values (%s, %s, 'x', 'nacl-sealed:v1', 'k', '', 1)"""
    for install_id, tenant_id in ((theirs.install_id, mine.tenant_id), (theirs.install_id, theirs.tenant_id)):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with store.tenant(mine.tenant_id) as tx:
                await tx.execute(statement, (install_id, tenant_id))
    async with store.tenant(mine.tenant_id) as tx:
        await tx.execute(statement, (mine.install_id, mine.tenant_id))
        cursor = await tx.execute("select distinct tenant_id from tenant_extension_install_secrets")
        assert await cursor.fetchall() == [(mine.tenant_id,)]
        cursor = await tx.execute(
            "delete from tenant_extension_install_secrets where tenant_id <> %s", (mine.tenant_id,)
        )
        assert cursor.rowcount == 0
