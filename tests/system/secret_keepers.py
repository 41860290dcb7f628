"""Extensions with secrets, in two languages: built once for a session, published, installed with this or that granted."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg
import pytest

from deploy.local.record import Stack
from shared.keys import PrivateKey
from shared.limits import INSTALL_CACHE_S
from tests.built import component as built
from tests.system.acting import Answer, Visitor, manifest, packed, signed

HERE: Final = Path(__file__).parent
WIT: Final = HERE.parents[1] / "shared" / "wit"
EXAMPLES: Final = HERE.parent / "examples"
SOURCES: Final = {"python": "app.py", "quickjs": "handler.js"}
CANARY: Final = 'canary/7f3a91+c2 "ä"-secret'
ASKED: Final = ("api_key", "webhook", "absent")
READ: Final = "cap:secrets.get"
RUNS_MAX_S: Final = 20.0  # the state feed is polled each second; a first call loads native code


class Keeper(msgspec.Struct, frozen=True):
    """One install of such an extension."""

    visitor: Visitor
    extension_id: str
    install_id: str
    content_hash: str
    version_id: str

    async def put(self, wanted: dict[str, Any]) -> Answer:
        """Set, bind or remove secrets."""
        return await self.visitor.call(
            "PUT",
            f"/api/installs/{self.install_id}/secrets",
            data=msgspec.json.encode(wanted),
            headers={"content-type": "application/json"},
        )

    async def call(self, path: str, **more: Any) -> Answer:
        """Call the guest."""
        return await self.visitor.get(f"/api/ext/{self.install_id}{path}", **more)

    async def get(self, name: str, **more: Any) -> Any:
        """What the guest is answered for a secret: `{"value": …}` or `{"error": …}`."""
        answer = await self.call(f"/get/{name}", **more)
        assert answer.status == 200, answer.body
        return answer.json()


def component(folder: Path, engine: str) -> bytes:
    """The guest, built with its real toolchain; the world is what its manifest declares."""
    project = folder / engine
    sources = project / "src" if engine != "python" else project
    sources.mkdir(parents=True)
    shutil.copyfile(HERE / "secret_guests" / SOURCES[engine], sources / SOURCES[engine])
    (project / "manifest.json").write_bytes(msgspec.json.encode(described(f"tests.secrets-{engine}")))
    if engine != "python":
        (project / "package.json").write_text(json.dumps({"alga": {"engine": engine, "runtime": True}}))
        (project / "node_modules").symlink_to(EXAMPLES / "node_modules")
    return built(f"secrets-{engine}", project, WIT)


def described(name: str) -> dict[str, Any]:
    """The manifest of an extension with secrets."""
    asks = [{"name": name, "hosts": ["api.example.com"] if name == "api_key" else []} for name in ASKED]
    return manifest(
        name,
        capabilities=[READ],
        permissions={"secrets": asks},
        ui={"type": "iframe", "entry": "ui/index.html"},
    )


async def offered(publisher: Visitor, folder: Path, name: str, wasm: bytes) -> dict[str, Any]:
    """The extension's version in the registry, for every tenant."""
    data, digest = packed(folder, described(name), wasm)
    key = PrivateKey.from_pem(Path(publisher.stack.signing_key).read_text())
    answer = await publisher.publish(data, signed(described(name), digest, key))
    assert answer.status in (200, 202), answer.body
    found: dict[str, Any] = answer.json()
    assert found["state"] == "ready", found
    with psycopg.connect(publisher.stack.database_url, autocommit=True) as database:
        database.execute(
            "update extension_registry set visibility = 'unlisted' where id = %s", (found["extension_id"],)
        )
    return found


async def installed(visitor: Visitor, version: dict[str, Any], *, granted: bool) -> Keeper:
    """A tenant's install without secrets; of one extension always with or always without the capability.

    One that is there is used again: runners learn of an install's end and new beginning a moment apart.
    """
    body = {"extension": version["extension_id"], "grants": {"capabilities": [READ] if granted else []}}
    answer = await visitor.post("/api/installs", body)
    assert answer.status in (201, 409), answer.body
    keeper = Keeper(
        visitor, version["extension_id"], answer.json()["install_id"], version["content_hash"], version["version_id"]
    )
    assert (await keeper.put(dict.fromkeys(ASKED))).status == 200
    async with asyncio.timeout(RUNS_MAX_S):
        while (await keeper.call("/list")).json() != {"names": []}:  # noqa: ASYNC110 - gateways keep what they read
            await asyncio.sleep(0.05)
    return keeper


async def settles(ask: Callable[[], Awaitable[object]], wanted: object) -> None:
    """Wait until what gateways keep for some seconds is what was written; a notice makes it sooner."""
    async with asyncio.timeout(2 * INSTALL_CACHE_S):
        while await ask() != wanted:  # noqa: ASYNC110 - what is watched is another process
            await asyncio.sleep(0.02)


async def refusal(keeper: Keeper) -> str:
    """The code with which a call is refused; empty when it is not."""
    answer = await keeper.call("/get/api_key")
    return answer.code if answer.status >= 400 else ""


# ---- fixtures -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def secret_component(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """The guests, each built when it is first wanted."""
    made: dict[str, bytes] = {}

    def component_of(engine: str) -> bytes:
        if engine not in made:
            made[engine] = component(tmp_path_factory.mktemp("guests"), engine)
        return made[engine]

    return component_of


@pytest.fixture
async def version(
    engine: str, admin: Visitor, secret_component: Callable[[str], bytes], tmp_path: Path
) -> dict[str, Any]:
    """The extension that is given its secrets."""
    return await offered(admin, tmp_path, f"tests.secrets-{engine}", secret_component(engine))


@pytest.fixture
async def keeper(version: dict[str, Any], admin: Visitor) -> Keeper:
    """It, installed by `acme` with everything granted, and no secret set."""
    return await installed(admin, version, granted=True)


@pytest.fixture
def other(admin: Visitor, stack: Stack) -> Visitor:
    """The administrator of `globex`."""
    return admin.with_token(stack.tenant("globex").admin_token)
