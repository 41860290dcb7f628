"""Extensions that use services of a host application, in three toolchains, and a platform that has one beside it.

Everything of the platform but its databases is started once more, with a provider directory and addresses: gateway,
compiler and runner must read the same files.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg

from deploy.local.ports import random_free
from deploy.local.record import Stack
from deploy.local.rest import answers
from gateway.cli.project import open_project
from gateway.cli.world import write_world
from shared.keys import PrivateKey, public_keys
from shared.provider_files import shipped
from tests.built import component as built
from tests.host_application import HostApplication, host_application
from tests.shared.provider_sources import provider_files
from tests.system.acting import Answer, Visitor, manifest, packed, signed, visiting
from tests.system.gateways import another_gateway
from tests.system.runners import START_MAX_S, STOP_MAX_S, RunnerProcess, another_runner, environment_of

HERE: Final = Path(__file__).parent
EXAMPLES: Final = HERE.parent / "examples"
SOURCES: Final = {"python": "app.py", "quickjs": "handler.js", "starlingmonkey": "handler.js"}
ASKED: Final = (*sorted(one.capability for one in shipped()), "cap:crm.read")
GRANTED: Final = "granted"
DENIED: Final = "denied"


class Platform(msgspec.Struct, frozen=True):
    """A platform with a host application.

    Attributes:
        stack: as `stack.json` describes it, with the addresses of what was started anew.
        host: the host application.
        providers: the directory that all of it reads.
    """

    stack: Stack
    host: HostApplication
    providers: Path
    runner: RunnerProcess

    async def visitor(self, into: contextlib.AsyncExitStack, token: str) -> Visitor:
        """Somebody who calls this platform's gateway."""
        return await into.enter_async_context(visiting(self.stack, token))


@contextlib.asynccontextmanager
async def platform_with_host_application(stack: Stack, folder: Path, **settings: str) -> AsyncIterator[Platform]:
    """Gateway, compiler and runner beside the stack's, all three with one provider of the operator's, and its peer.

    Args:
        stack: whose databases and keys they share.
        folder: for what they write.
        settings: further ones of the runner.
    """
    providers = provider_files(folder / "providers")
    directory = {"EXT_PROVIDERS_DIR": str(providers)}
    key = Path(environment_of(stack.pids["runner"])["RUNNER_GATEWAY_KEYS"])
    async with contextlib.AsyncExitStack() as into:
        host = await into.enter_async_context(host_application(*public_keys(key.read_text())))
        endpoints = host.endpoints("clients", "crm", "invoicing", "services")
        runner, compiler = await asyncio.gather(
            into.enter_async_context(
                another_runner(
                    stack,
                    folder,
                    **directory,
                    RUNNER_PROVIDER_ENDPOINTS=endpoints,
                    UI_PROXY_BASE_URL=host.ui_proxy,
                    RUNNER_WORKERS="1",
                    **settings,
                )
            ),
            into.enter_async_context(another_compiler(stack, folder, **directory)),
        )
        gateway = await into.enter_async_context(
            another_gateway(stack, RUNNER_BASE_URL=runner.url, COMPILER_BASE_URL=compiler, **directory)
        )
        beside = msgspec.structs.replace(stack, gateway_url=gateway.url, runner_url=runner.url)
        yield Platform(beside, host, providers, runner)


@contextlib.asynccontextmanager
async def another_compiler(stack: Stack, folder: Path, **changes: str) -> AsyncIterator[str]:
    """The stack's compiler once more, with these further settings; its URL."""
    bind = f"127.0.0.1:{random_free()}"
    cache = {"COMPILER_BIND": bind, "EXT_CACHE_ROOT": str(folder / "compiler-cache")}
    environment = environment_of(stack.pids["compiler"]) | cache | changes
    command = [sys.executable, "-m", "runner", "--role", "compiler"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            async with asyncio.timeout(START_MAX_S):
                while not await answers(f"http://{bind}/readyz"):
                    assert process.poll() is None, "the compiler ended while it started"
                    await asyncio.sleep(0.05)
            yield f"http://{bind}"
        finally:
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(process.wait, STOP_MAX_S)


def described(kind: str, engine: str, version: str = "1.0.0") -> dict[str, Any]:
    """The manifest of such an extension; users of the client portal may call it.

    Args:
        kind: `granted` or `denied`: what a tenant decides is of one extension always the same, since every worker of a
            runner learns by itself that an install ended and began anew.
        engine: what its guest runs on.
        version: of the extension.
    """
    return manifest(
        f"tests.services-{kind}-{engine}",
        version,
        capabilities=list(ASKED),
        ui={"type": "iframe", "entry": "ui/index.html", "hooks": {"clientPortalMenu": {"label": "Services"}}},
    )


def component(folder: Path, engine: str) -> bytes:
    """The guest, built with its real toolchain for the world that `alga-ext` derives from its manifest."""
    project = folder / engine
    sources = project / "src" if engine != "python" else project
    (project / "ui").mkdir(parents=True)
    sources.mkdir(exist_ok=True)
    shutil.copyfile(HERE / "provider_guests" / SOURCES[engine], sources / SOURCES[engine])
    (project / "manifest.json").write_bytes(msgspec.json.encode(described(GRANTED, engine)))
    (project / "ui" / "index.html").write_text("<!doctype html><title>t</title>")
    if engine != "python":
        (project / "package.json").write_text(json.dumps({"alga": {"engine": engine, "runtime": True}}))
        (project / "node_modules").symlink_to(EXAMPLES / "node_modules")
    return built(f"services-{engine}", project, write_world(open_project(project)))


async def publish(
    publisher: Visitor, folder: Path, kind: str, engine: str, wasm: bytes, version: str = "1.0.0"
) -> Answer:
    """Sign and publish the extension."""
    about = described(kind, engine, version)
    folder.mkdir(parents=True, exist_ok=True)
    data, digest = packed(folder, about, wasm, known=frozenset(ASKED))
    key = PrivateKey.from_pem(Path(publisher.stack.signing_key).read_text())
    return await publisher.publish(data, signed(about, digest, key), allow_unused_imports=False)


async def offer_to_everyone(stack: Stack) -> None:
    """List these extensions for every tenant, as the platform's operator may."""
    async with await psycopg.AsyncConnection.connect(stack.database_url, autocommit=True) as database:
        await database.execute(
            "update extension_registry set visibility = 'unlisted' where name like 'tests.services-%'"
        )


async def installed(visitor: Visitor, extension_id: str, kind: str) -> str:
    """An install with all that is asked for, or with nothing; one that is there is used again."""
    body = {"extension": extension_id, "grants": {"capabilities": list(ASKED) if kind == GRANTED else []}}
    answer = await visitor.post("/api/installs", body)
    assert answer.status in (201, 409), answer.body
    return str(answer.json()["install_id"])
