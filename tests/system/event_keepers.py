"""Extensions that publish and keep what they are told, in two languages: built once for a session, published, installed."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg
import pytest

from gateway.cli.build import build_guest
from shared.keys import PrivateKey
from tests.system.acting import Answer, Visitor, manifest, packed, signed

HERE: Final = Path(__file__).parent
WIT: Final = HERE.parents[1] / "shared" / "wit"
EXAMPLES: Final = HERE.parent / "examples"
SOURCES: Final = {"python": "app.py", "quickjs": "handler.js"}
ASKED: Final = ("cap:events.publish", "cap:storage.kv")
PAID: Final = "invoice.paid"
ARRIVES_MAX_S: Final = 30.0  # a first call loads native code


class Party(msgspec.Struct, frozen=True):
    """One install of such an extension, and who calls it."""

    visitor: Visitor
    name: str
    install_id: str

    async def publish(self, topic: str, body: bytes = b"{}") -> Any:
        """What the guest was answered: `{}` or `{"error": …}`."""
        answer = await self.visitor.call("POST", f"/api/ext/{self.install_id}/publish/{topic}", data=body)
        assert answer.status == 200, answer.body
        return answer.json()

    async def mood(self, status: int) -> None:
        """Let it answer events with this status from now on."""
        answer = await self.visitor.call("PUT", f"/api/ext/{self.install_id}/mood/{status}")
        assert answer.status == 204, answer.body

    async def seen(self) -> list[dict[str, Any]]:
        """What it was told so far, in no order."""
        answer = await self.visitor.get(f"/api/ext/{self.install_id}/seen")
        assert answer.status == 200, answer.body
        found: list[dict[str, Any]] = answer.json()
        return found

    async def told(self, topic: str, count: int) -> list[dict[str, Any]]:
        """Wait until it was told so many events of a topic."""
        async with asyncio.timeout(ARRIVES_MAX_S):
            while len(found := [one for one in await self.seen() if one.get("type") == topic]) < count:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
        return found

    async def deliveries(self, state: str, count: int) -> list[dict[str, Any]]:
        """Wait until so many deliveries are in a state."""
        async with asyncio.timeout(ARRIVES_MAX_S):
            while True:
                answer = await self.visitor.get(f"/api/installs/{self.install_id}/events/deliveries?state={state}")
                assert answer.status == 200, answer.body
                found: list[dict[str, Any]] = answer.json()["items"]
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.05)

    async def redeliver(self, event_id: str) -> Answer:
        """Give a dead letter its second chance."""
        return await self.visitor.post(f"/api/installs/{self.install_id}/events/dead/{event_id}/redeliver", None)


def name_of(engine: str) -> str:
    """Of the extension in a language."""
    return f"tests.events-{engine}"


def described(engine: str, name: str | None = None) -> dict[str, Any]:
    """Its manifest: it hears of invoices, of what the other one makes, and of its own repetitions."""
    other = next(one for one in SOURCES if one != engine)
    topics = (PAID, f"{name_of(other)}.created", f"{name_of(engine)}.again")
    return manifest(
        name or name_of(engine),
        capabilities=list(ASKED),
        events=[] if name else [{"topic": topic} for topic in topics],
        ui={"type": "iframe", "entry": "ui/index.html"},
    )


def component(folder: Path, engine: str) -> bytes:
    """The guest, built with its real toolchain."""
    project = folder / engine
    sources = project / "src" if engine != "python" else project
    sources.mkdir(parents=True)
    shutil.copyfile(HERE / "event_guests" / SOURCES[engine], sources / SOURCES[engine])
    (project / "manifest.json").write_bytes(msgspec.json.encode(described(engine)))
    if engine != "python":
        (project / "package.json").write_text(json.dumps({"alga": {"engine": engine, "runtime": True}}))
        (project / "node_modules").symlink_to(EXAMPLES / "node_modules")
    return build_guest(project, folder / f"{engine}-tree", wit=WIT, log=lambda _line: None).read_bytes()


async def offered(publisher: Visitor, folder: Path, wasm: bytes, about: dict[str, Any]) -> str:
    """The extension in the registry, for every tenant; its id."""
    data, digest = packed(folder, about, wasm)
    key = PrivateKey.from_pem(Path(publisher.stack.signing_key).read_text())
    answer = await publisher.publish(data, signed(about, digest, key))
    assert answer.status in (200, 202), answer.body
    found: dict[str, Any] = answer.json()
    assert found["state"] == "ready", found
    with psycopg.connect(publisher.stack.database_url, autocommit=True) as database:
        database.execute(
            "update extension_registry set visibility = 'unlisted' where id = %s", (found["extension_id"],)
        )
    return str(found["extension_id"])


async def installed(visitor: Visitor, name: str, extension_id: str, capabilities: tuple[str, ...] = ASKED) -> Party:
    """An install with these grants, that has seen nothing.

    One that is there is used again: runners learn of an install's end and new beginning a moment apart.
    """
    body = {"extension": extension_id, "grants": {"capabilities": list(capabilities)}}
    answer = await visitor.post("/api/installs", body)
    assert answer.status in (201, 409), answer.body
    party = Party(visitor, name, answer.json()["install_id"])
    with psycopg.connect(visitor.stack.database_url, autocommit=True) as database:
        database.execute("delete from extension_event_delivery where install_id = %s", (party.install_id,))
    await party.mood(204)
    with psycopg.connect(visitor.stack.database_url, autocommit=True) as database:
        database.execute(
            "delete from ext_storage_records where install_id = %s and namespace = 'seen'", (party.install_id,)
        )
        database.execute(
            "update extension_event set created_at = created_at - interval '1 minute' where install_id = %s",
            (party.install_id,),
        )
    return party


@pytest.fixture(scope="session")
def event_component(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """The guests, each built when it is first wanted."""
    made: dict[str, bytes] = {}

    def component_of(engine: str) -> bytes:
        if engine not in made:
            made[engine] = component(tmp_path_factory.mktemp("event-guests"), engine)
        return made[engine]

    return component_of
