"""Extensions that arrange schedules and keep their ticks, in two languages: built once, published, installed."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg

from deploy.local.record import Stack
from shared.digest import sha256_hex
from shared.keys import PrivateKey
from tests.built import component as built
from tests.system.acting import Answer, Visitor, manifest, packed, signed

HERE: Final = Path(__file__).parent
WIT: Final = HERE.parents[1] / "shared" / "wit"
EXAMPLES: Final = HERE.parent / "examples"
SOURCES: Final = {"python": "app.py", "quickjs": "handler.js"}
MANAGE: Final = "cap:scheduler.manage"
ASKED: Final = (MANAGE, "cap:storage.kv")
ENDPOINTS: Final = [
    {"method": "POST", "path": "/tick", "schedulable": True, "handler": "tick"},
    {"method": "GET", "path": "/fail", "schedulable": True},
    {"method": "GET", "path": "/ticks"},
    {"method": "POST", "path": "/scheduler/:function"},
]
ARRIVES_MAX_S: Final = 60.0  # a first call loads native code
SERVED_COUNT: Final = 10  # answers in a row, so that every worker of the runner gave some


class Keeper(msgspec.Struct, frozen=True):
    """One install of such an extension, and who calls it."""

    visitor: Visitor
    install_id: str

    async def ask(self, function: str, **asked: Any) -> Any:
        """What the guest was answered by one function of the interface."""
        answer = await self.visitor.post(f"/api/ext/{self.install_id}/scheduler/{function}", asked)
        assert answer.status == 200, answer.body
        return answer.json()

    async def ticks(self) -> list[dict[str, Any]]:
        """What it was called with: for each idempotency key, how often."""
        answer = await self.visitor.get(f"/api/ext/{self.install_id}/ticks")
        assert answer.status == 200, answer.body
        found: list[dict[str, Any]] = answer.json()
        return found

    async def serves(self) -> None:
        """Wait until it is loaded and every worker has heard of it: what is not is a reason to try a run again."""
        served = 0
        async with asyncio.timeout(ARRIVES_MAX_S):
            while served < SERVED_COUNT:
                answer = await self.visitor.get(f"/api/ext/{self.install_id}/ticks")
                served = served + 1 if answer.status == 200 else 0
                await asyncio.sleep(0 if served else 0.1)

    async def rest(self, method: str, tail: str = "", body: Any = None) -> Answer:
        """Its schedules over REST."""
        data = None if body is None else msgspec.json.encode(body)
        headers = {"content-type": "application/json"} if data else {}
        path = f"/api/installs/{self.install_id}/schedules{tail}"
        return await self.visitor.call(method, path, data=data, headers=headers)

    async def created(self, **fields: Any) -> str:
        """A schedule that does not fire by itself while a test runs."""
        answer = await self.rest("POST", "", {"endpoint": "/tick", "cron": "0 0 1 1 *", **fields})
        assert answer.status == 201, answer.body
        return str(answer.json()["schedule_id"])

    async def ended(self, schedule_id: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until so many runs of a schedule have ended; all of them."""
        async with asyncio.timeout(ARRIVES_MAX_S):
            while True:
                runs: list[dict[str, Any]] = (await self.rest("GET", f"/{schedule_id}/runs")).json()["items"]
                if sum(run["state"] not in ("waiting", "running") for run in runs) >= count:
                    return runs
                await asyncio.sleep(0.05)


def due_now(stack: Stack, schedule_id: str) -> None:
    """Let a schedule's next fire time be now, as if the clock had gone on."""
    with psycopg.connect(stack.database_url, autocommit=True) as database:
        changed = database.execute(
            "update tenant_extension_schedule set next_fire_at = date_trunc('second', now()) where id = %s",
            (schedule_id,),
        )
        assert changed.rowcount == 1


async def keeper(admin: Visitor, engine: str, folder: Path, *, granted: bool = True) -> Keeper:
    """An extension with the guest in a language, installed for the visitor's tenant with schedules granted, or without."""
    wasm = await asyncio.to_thread(_component, folder, engine)
    name = f"tests.schedules-{engine}{'' if granted else '-bare'}"
    described = manifest(name, f"1.0.0-c{sha256_hex(wasm)[:8]}", capabilities=list(ASKED), api={"endpoints": ENDPOINTS})
    data, digest = packed(folder, described, wasm)
    key = PrivateKey.from_pem(Path(admin.stack.signing_key).read_text())
    published = await admin.publish(data, signed(described, digest, key))
    assert published.status in (200, 202), published.body
    async with asyncio.timeout(300):
        while (state := published.json()["state"]) == "preparing":
            await asyncio.sleep(0.2)
            published = await admin.get(f"/api/registry/versions/{published.json()['version_id']}")
    assert state == "ready", published.body
    grants = {"capabilities": list(ASKED if granted else ASKED[1:])}
    wanted = {"extension": name, "version": described["version"], "grants": grants}
    installed = await admin.post("/api/installs", wanted)
    assert installed.status in (201, 409), installed.body  # another test may have installed it
    found = Keeper(admin, str(installed.json()["install_id"]))
    await found.serves()
    return found


def _component(folder: Path, engine: str) -> bytes:
    """The guest, built with its real toolchain; the world is what its manifest declares."""
    project = folder / engine
    sources = project / "src" if engine != "python" else project
    sources.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(HERE / "schedule_guests" / SOURCES[engine], sources / SOURCES[engine])
    described = manifest(f"tests.schedules-{engine}", capabilities=list(ASKED), api={"endpoints": ENDPOINTS})
    (project / "manifest.json").write_bytes(msgspec.json.encode(described))
    if engine != "python" and not (project / "node_modules").exists():
        (project / "package.json").write_text(json.dumps({"alga": {"engine": engine, "runtime": True}}))
        (project / "node_modules").symlink_to(EXAMPLES / "node_modules")
    return built(f"schedules-{engine}", project, WIT)
