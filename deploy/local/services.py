"""Our services as child processes, each with its complete environment: migrations, gateway, runner, compiler.

Every service is configured as in production, by environment variables and nothing else; each gets only the
credentials it needs (its own database login, its own S3 user, its own private key).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from deploy.local import rest, tokens
from deploy.local.keys import Keys
from deploy.local.ports import LOOPBACK
from deploy.local.postgres import Postgres, allow_login, ensure_database
from deploy.local.processes import Child, Program, finish, plain_environment, running
from deploy.local.redis import Redis
from deploy.local.s3 import S3, Login

ROOT: Final = Path(__file__).resolve().parents[2]
DATABASE: Final = "alga"
MIGRATE_MAX_S: Final = 120.0
READY_MAX_S: Final = 120.0  # a runner proves its sandboxes before it is ready; slow on a busy machine
STOP_MAX_S: Final = 15.0  # a drain ends with the last call, at most 5 s here

_PROVIDERS: Final = "EXT_PROVIDERS_DIR"  # services of a host application, if whoever starts the stack has one
_ENDPOINTS: Final = "RUNNER_PROVIDER_ENDPOINTS"
_PRACTICALLY_UNLIMITED: Final = {  # one person works here, and measures what the platform can do
    "GATEWAY_TENANT_CALLS_PER_S": "100000",
    "GATEWAY_INSTALL_CALLS_PER_S": "100000",
    "GATEWAY_TENANT_RUNNING_MAX": "10000",
    "GATEWAY_INSTALL_RUNNING_MAX": "10000",
    "GATEWAY_INSTALL_CALLS_PER_HOUR": "1000000000",
    "GATEWAY_INSTALL_CPU_S_PER_HOUR": "1000000000",
}


class Addresses(msgspec.Struct, frozen=True, kw_only=True):
    """The port of each of our listeners, all on loopback."""

    gateway: int
    gateway_internal: int
    runner: int
    runner_public: int
    compiler: int

    def url(self, port: int) -> str:
        """The base URL of the listener at `port`."""
        return f"http://{LOOPBACK}:{port}"

    def bind(self, port: int) -> str:
        """`host:port` for a setting that names a listener."""
        return f"{LOOPBACK}:{port}"


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the services stand on."""

    directory: Path
    addresses: Addresses
    keys: Keys
    postgres: Postgres
    redis: Redis
    s3: S3


async def migrate(directory: Path, keys: Keys, pg: Postgres) -> None:
    """Bring the database to this release's schema and let its two logins sign in.

    Raises:
        StackError: a migration failed; carries the tail of its log.
    """
    await ensure_database(pg, DATABASE)
    owner = {"GATEWAY_DATABASE_DIRECT_URL": pg.address(DATABASE)}
    await finish(_program(directory, "migrate", ("gateway.migrate",), owner), within_s=MIGRATE_MAX_S)
    await allow_login(pg, "gateway_app", keys.passwords.database_app)
    await allow_login(pg, "gateway_platform", keys.passwords.database_platform)


@contextlib.asynccontextmanager
async def gateway(around: Surroundings) -> AsyncIterator[Child]:
    """The gateway, ready. Raises `StackError` when it does not start."""
    program = _program(around.directory, "gateway", ("gateway",), gateway_environment(around))
    async with _service(program, around.addresses.url(around.addresses.gateway_internal)) as child:
        yield child


@contextlib.asynccontextmanager
async def runner(around: Surroundings) -> AsyncIterator[Child]:
    """The runner, ready. Raises `StackError` when it does not start."""
    program = _program(around.directory, "runner", ("runner",), runner_environment(around))
    async with _service(program, around.addresses.url(around.addresses.runner)) as child:
        yield child


@contextlib.asynccontextmanager
async def compiler(around: Surroundings) -> AsyncIterator[Child]:
    """The compiler role, ready. Raises `StackError` when it does not start."""
    program = _program(around.directory, "compiler", ("runner", "--role", "compiler"), compiler_environment(around))
    async with _service(program, around.addresses.url(around.addresses.compiler)) as child:
        yield child


def gateway_environment(around: Surroundings) -> dict[str, str]:
    """Every variable the gateway gets."""
    addresses, keys, pg = around.addresses, around.keys, around.postgres
    app = pg.address(DATABASE, "gateway_app", keys.passwords.database_app)
    return {
        **_store(around, around.s3.gateway),
        "GATEWAY_BIND": addresses.bind(addresses.gateway),
        "GATEWAY_LOCAL_TENANT": tokens.DEMO_TENANT,
        "GATEWAY_INTERNAL_BIND": addresses.bind(addresses.gateway_internal),
        "GATEWAY_DATABASE_URL": app,
        "GATEWAY_DATABASE_DIRECT_URL": app,
        "GATEWAY_PLATFORM_DATABASE_URL": pg.address(DATABASE, "gateway_platform", keys.passwords.database_platform),
        "GATEWAY_REDIS_URL": around.redis.url,
        "DEBUG_STREAM_REDIS_URL": around.redis.url,
        **_PRACTICALLY_UNLIMITED,
        "GATEWAY_JWT_KEYS": str(keys.host.public),
        "GATEWAY_JWT_AUDIENCE": tokens.AUDIENCE,
        "GATEWAY_JWT_ISSUER": tokens.ISSUER,
        "GATEWAY_SIGNING_KEY": str(keys.gateway.private),
        "GATEWAY_RUNNER_KEYS": str(keys.runner.public),
        "GATEWAY_SEALING_PUBLIC_KEYS": str(keys.sealing.public),
        "RUNNER_BASE_URL": addresses.url(addresses.runner),
        "RUNNER_PUBLIC_BASE": addresses.url(addresses.runner_public),
        "COMPILER_BASE_URL": addresses.url(addresses.compiler),
    }


def runner_environment(around: Surroundings) -> dict[str, str]:
    """Every variable the runner gets."""
    addresses, keys = around.addresses, around.keys
    origins = (f"http://{host}:{addresses.gateway}" for host in (LOOPBACK, "localhost"))
    return {
        **_store(around, around.s3.runner),
        "RUNNER_BIND": addresses.bind(addresses.runner),
        "RUNNER_PUBLIC_BIND": addresses.bind(addresses.runner_public),
        "RUNNER_GATEWAY_URL": addresses.url(addresses.gateway_internal),
        "RUNNER_GATEWAY_KEYS": str(keys.gateway.public),
        "RUNNER_IDENTITY_KEY": str(keys.runner.private),
        "RUNNER_SEALING_KEYS": str(keys.sealing.private),
        "RUNNER_AOT_PUBLIC_KEYS": str(keys.compiler.public),
        "RUNNER_SERVICE_TOKEN": keys.passwords.service_token,
        "RUNNER_DEBUG_REDIS_URL": around.redis.runner_url,
        "COMPILER_BASE_URL": addresses.url(addresses.compiler),
        "EXT_CACHE_ROOT": str(around.directory / "cache" / "runner"),
        "EXT_UI_FRAME_ANCESTORS": " ".join(origins),
        **_given(_ENDPOINTS),
    }


def compiler_environment(around: Surroundings) -> dict[str, str]:
    """Every variable the compiler role gets."""
    addresses, keys = around.addresses, around.keys
    callers = keys.gateway.public.read_text() + keys.runner.public.read_text()
    return {
        **_store(around, around.s3.compiler),
        "COMPILER_BIND": addresses.bind(addresses.compiler),
        "COMPILER_SIGNING_KEY": str(keys.compiler.private),
        "COMPILER_CALLER_KEYS": callers,
        "EXT_CACHE_ROOT": str(around.directory / "cache" / "compiler"),
    }


def _store(around: Surroundings, login: Login) -> dict[str, str]:
    return {
        "EXT_MODE": "local",
        "SIGNING_TRUST_BUNDLE": str(around.keys.trust_bundle),
        "STORAGE_S3_ENDPOINT": around.s3.endpoint,
        "STORAGE_S3_REGION": around.s3.region,
        "STORAGE_S3_ACCESS_KEY": login.access_key,
        "STORAGE_S3_SECRET_KEY": login.secret_key,
        "STORAGE_S3_BUCKET": around.s3.bucket,
        "STORAGE_S3_FORCE_PATH_STYLE": "1",
        **_given(_PROVIDERS),
    }


def _given(name: str) -> dict[str, str]:
    """A variable of whoever starts the stack, where it is set."""
    return {name: os.environ[name]} if os.environ.get(name) else {}


def _program(directory: Path, name: str, module: tuple[str, ...], variables: Mapping[str, str]) -> Program:
    return Program(
        name=name,
        argv=(sys.executable, "-m", *module),
        env={**plain_environment(), "PYTHONUNBUFFERED": "1", **variables},
        log=directory / "logs" / f"{name}.log",
        cwd=ROOT,
        orphan_with=signal.SIGTERM,  # it stops its own workers; they in turn are tied to it
        stop_s=STOP_MAX_S,
    )


@contextlib.asynccontextmanager
async def _service(program: Program, internal_url: str) -> AsyncIterator[Child]:
    async with running(program) as child:
        await child.until(lambda: rest.answers(f"{internal_url}/readyz"), within_s=READY_MAX_S)
        yield child
