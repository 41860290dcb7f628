"""The credentials of a one-host installation: made once, and the servers they are for accept them."""

from __future__ import annotations

import shutil
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import psycopg
import pytest
from redis.asyncio import Redis as Client
from redis.exceptions import ConnectionError, NoPermissionError  # noqa: A004 - the client's own

from deploy import credentials
from deploy.local.ports import random_free
from deploy.local.postgres import Postgres, postgres
from deploy.local.processes import Program, plain_environment, running
from deploy.local.redis import _binary
from gateway.migrate import migrate
from gateway.store.pool import open_database


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Every credential, freshly made."""
    place = tmp_path / "credentials"
    credentials.write(place)
    return place


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_second_run_makes_nothing(directory):
    before = contents(directory)
    assert credentials.write(directory) == []
    assert contents(directory) == before


def test_what_is_missing_is_made_again_from_what_is_kept(directory):
    before = contents(directory)
    shutil.rmtree(directory / "gateway")
    made = credentials.write(directory)
    assert {path.parent.name for path in made} == {"gateway"}
    assert contents(directory) == before


def test_what_an_operator_changed_is_kept(directory):
    directory.joinpath("public/GATEWAY_JWT_KEYS").write_text("another key")
    credentials.write(directory)
    assert directory.joinpath("public/GATEWAY_JWT_KEYS").read_text() == "another key"


def test_two_installations_share_nothing(directory, tmp_path):
    other = tmp_path / "other"
    credentials.write(other)
    mine, theirs = contents(directory), contents(other)
    assert set(mine) == set(theirs)
    same = {name for name in mine if mine[name] == theirs[name]}
    assert same == {f"{role}/STORAGE_S3_ACCESS_KEY" for role in ("gateway", "runner", "compiler")}  # names of users


def test_only_the_owner_enters_and_a_mounted_file_can_be_read(directory):
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for path in directory.rglob("*"):
        relative = path.relative_to(directory)
        if relative.parts[0] in ("keys", "passwords.json"):
            continue
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644), relative
    for kept in ("keys", "passwords.json"):
        assert stat.S_IMODE((directory / kept).stat().st_mode) & 0o077 == 0


def test_no_role_can_read_the_private_key_of_another(directory):
    private = {
        str(path.relative_to(directory))
        for path in directory.rglob("*")
        if path.is_file() and path.parent.name != "keys" and b"PRIVATE KEY" in path.read_bytes()
    }
    assert private == {
        "gateway/GATEWAY_SIGNING_KEY",
        "runner/RUNNER_IDENTITY_KEY",
        "runner/RUNNER_SEALING_KEYS",
        "compiler/COMPILER_SIGNING_KEY",
    }


def test_the_object_store_lets_a_runner_read_and_a_compiler_write_native_code_only(directory):
    found = msgspec.json.decode(directory.joinpath("s3/identities.json").read_bytes(), type=credentials._Identities)
    users = {user.name: user for user in found.identities}
    assert users["runner"].actions == ("Read:alga-extensions", "List:alga-extensions")
    assert users["compiler"].actions == (*users["runner"].actions, "Write:alga-extensions/aot/*")
    for name, user in users.items():
        (pair,) = user.credentials
        assert pair.access_key == directory.joinpath(name, "STORAGE_S3_ACCESS_KEY").read_text()
        assert pair.secret_key == directory.joinpath(name, "STORAGE_S3_SECRET_KEY").read_text()


# ---- real servers -------------------------------------------------------------------------------------------


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Postgres]:
    """A PostgreSQL that was just made."""
    async with postgres(tmp_path / "postgres", keep=False) as found:
        yield found


def there(directory: Path, name: str, address: str) -> str:
    """The connection URL of a file, leading to a server of this test instead."""
    return directory.joinpath(name).read_text().replace("postgres:5432", address)


@pytest.mark.slow
async def test_the_logins_work_after_the_migrations(server, directory):
    address = f"{server.host}:{server.port}"
    owner_password = directory.joinpath("postgres/password").read_text()
    async with await psycopg.AsyncConnection.connect(server.url, autocommit=True) as first:
        # What the server's image does at its first start.
        await first.execute(f"create role {credentials.OWNER} superuser login password '{owner_password}'")
        await first.execute(f"create database {credentials.DATABASE} owner {credentials.OWNER}")
    owner = there(directory, "migrate/GATEWAY_DATABASE_DIRECT_URL", address)
    async with await psycopg.AsyncConnection.connect(owner, autocommit=True) as made:
        await made.execute(directory.joinpath("postgres/logins.sql").read_text().encode())
    assert await migrate(owner)
    app = there(directory, "gateway/GATEWAY_DATABASE_URL", address)
    platform = there(directory, "gateway/GATEWAY_PLATFORM_DATABASE_URL", address)
    async with open_database(app, platform, app) as store, store.tenant("acme") as tx:
        cursor = await tx.execute("select current_user::text")
        assert await cursor.fetchone() == ("gateway_app",)


async def test_redis_lets_the_gateway_do_everything_and_the_runner_add_to_debug_streams(directory, tmp_path):
    port = random_free()
    program = Program(
        name="valkey",
        argv=(str(_binary()), "--port", str(port), "--aclfile", str(directory / "redis/users.acl"), "--save", ""),
        env=plain_environment(),
        log=tmp_path / "valkey.log",
        cwd=tmp_path,
    )

    def url(name: str) -> str:
        return directory.joinpath(name).read_text().replace("redis:6379", f"127.0.0.1:{port}")

    async def answers() -> bool:
        try:
            async with Client.from_url(url("gateway/GATEWAY_REDIS_URL")) as client:
                return bool(await client.ping())
        except ConnectionError:  # not listening, or still loading
            return False

    async with running(program) as child:
        await child.until(answers, within_s=20)
        async with Client.from_url(url("runner/RUNNER_DEBUG_REDIS_URL")) as runner:
            await runner.xadd("ext-debug:acme:hello", {"message": "hi"}, maxlen=10, approximate=True)
            with pytest.raises(NoPermissionError):
                await runner.get("anything")
        async with Client.from_url(url("gateway/GATEWAY_REDIS_URL")) as gateway:
            assert await gateway.xlen("ext-debug:acme:hello") == 1
