"""A gateway killed in the middle of publishing, installing or upgrading: the old state or the new one, never a half.

Another gateway is started for each kill and ended with SIGKILL at a moment drawn over the time the step takes, from
before its first byte to after its answer. Then no row may name an object that is not there, nothing may be there by half,
and the same call, repeated at a gateway that lives, must succeed with the same ids. `TRUST_KILLS` says how many kills
(`make test-trust`: 200).
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import time
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp
import pytest

from deploy.local.record import Stack
from shared.keys import PrivateKey
from tests.system.acting import Visitor, manifest, packed, signed
from tests.system.gateways import another_gateway
from tests.system.stored_bundle import check_whole, database, objects, rows_of

KILLS: Final = int(os.environ.get("TRUST_KILLS", "3"))
SEED: Final = int(os.environ.get("TRUST_SEED") or secrets.randbelow(1 << 32))
UI: Final = {"type": "iframe", "entry": "ui/index.html"}
GONE: Final = (aiohttp.ClientError, ConnectionError, TimeoutError)

pytestmark = [pytest.mark.security, pytest.mark.timeout(180 + 15 * KILLS, func_only=True)]


class Step(Protocol):
    """Something a gateway does in several steps of its own. To add one, write a class and name it in `STEPS`."""

    async def begin(self, number: int) -> None:
        """Arrange what the call needs, at a gateway that lives."""

    async def act(self, base: str) -> None:
        """The call, at a gateway that may be killed meanwhile."""

    async def check(self) -> str | None:
        """Fail unless the state is the old one or the new one; the id that the new one has, `None` in the old."""

    async def repeat(self) -> str:
        """The same call at a gateway that lives: succeeds, and tells the id."""

    async def end(self) -> None:
        """Leave nothing behind that others would see."""


class Bench:
    """What every step has: somebody who acts, the publisher's key, a folder, and names of its own."""

    def __init__(self, admin: Visitor, directory: Path) -> None:
        self.admin, self.stack, self.directory = admin, admin.stack, directory
        self.key = PrivateKey.from_pem(Path(admin.stack.signing_key).read_text())
        self.mark = secrets.token_hex(4)

    def bundle(self, name: str, version: str) -> tuple[bytes, Any]:
        """A small signed bundle and its envelope."""
        described = manifest(name, version, ui=UI)
        data, digest = packed(self.directory, described, None)
        return data, signed(described, digest, self.key)

    async def published(self, name: str, version: str) -> dict[str, Any]:
        """A version that is ready."""
        answer = await self.admin.publish(*self.bundle(name, version))
        assert answer.json()["state"] == "ready", answer.body
        found: dict[str, Any] = answer.json()
        return found


class Publish:
    """Upload and finalize."""

    def __init__(self, bench: Bench) -> None:
        self._bench, self._name = bench, f"tests.killed-publish-{bench.mark}"
        self._version = self._upload_id = ""

    async def begin(self, number: int) -> None:
        self._version, self._upload_id = f"1.0.{number}", ""
        self._data, self._envelope = self._bench.bundle(self._name, self._version)

    async def act(self, base: str) -> None:
        answer = await self._bench.admin.call("POST", "/api/registry/bundles", data=self._data, base=base)
        if answer.status == 201:
            self._upload_id = answer.json()["upload_id"]
            await self._finalize(base)

    async def check(self) -> str | None:
        async with database(self._bench.stack) as rows, objects(self._bench.stack) as store:
            found = await rows_of(rows, self._name)
            for row in found:
                await check_whole(row, store)
        return next((row.id for row in found if row.version == self._version), None)

    async def repeat(self) -> str:
        if not self._upload_id:
            answer = await self._bench.admin.upload(self._data)
            assert answer.status == 201, answer.body
            self._upload_id = answer.json()["upload_id"]
        first = await self._finalize(None)
        async with database(self._bench.stack) as rows:  # the dead gateway's lease ends; its time is not waited for
            await rows.execute(
                "update extension_version set prepare_lease_until = now() where id = %s and state = 'preparing'",
                (first["version_id"],),
            )
        again = await self._finalize(None)
        assert (again["state"], again["version_id"]) == ("ready", first["version_id"])
        return str(again["version_id"])

    async def end(self) -> None:
        return

    async def _finalize(self, base: str | None) -> dict[str, Any]:
        body = {"signature": self._envelope}
        answer = await self._bench.admin.post(
            f"/api/registry/bundles/{self._upload_id}/finalize", body, **({"base": base} if base else {})
        )
        assert answer.status in (200, 202), answer.body
        found: dict[str, Any] = answer.json()
        return found


class Installed:
    """Rows of an install, as the steps that change one look at them."""

    def __init__(self, stack: Stack, name: str) -> None:
        self._stack, self._name = stack, name

    async def look(self, action: str, audited: str) -> tuple[str, str, str] | None:
        """Id, status and version of the install, after comparing what belongs together; `None` without one."""
        async with database(self._stack) as rows:
            cursor = await rows.execute(
                """select i.id::text, i.status, v.version,
                          (select count(*) from tenant_extension_install_config c where c.install_id = i.id),
                          (select count(*) from install_version_history h
                            where h.install_id = i.id and h.action = %s),
                          (select count(*) from extension_audit_log a
                            where a.subject_id = i.id::text and a.action = %s)
                     from tenant_extension_install i
                     join extension_registry r on r.id = i.registry_id
                     join extension_version v on v.id = i.version_id
                    where r.name = %s""",
                (action, audited, self._name),
            )
            found = await cursor.fetchall()
        if not found:
            return None
        ((install_id, status, version, configs, history, audit),) = found
        assert configs == 1
        assert history == audit
        return str(install_id), str(status), str(version)


class Install:
    """Installing one version, again and again."""

    def __init__(self, bench: Bench) -> None:
        self._bench, self._name = bench, f"tests.killed-install-{bench.mark}"
        self._rows = Installed(bench.stack, self._name)
        self._wanted = {"extension": self._name, "version": "1.0.0", "grants": {}}
        self._install_id = ""

    async def begin(self, number: int) -> None:
        await self._bench.published(self._name, "1.0.0")
        await self.end()

    async def act(self, base: str) -> None:
        await self._bench.admin.post("/api/installs", self._wanted, base=base)

    async def check(self) -> str | None:
        found = await self._rows.look("install", "install.created")
        return found[0] if found is not None and found[1] == "enabled" else None

    async def repeat(self) -> str:
        answer = await self._bench.admin.post("/api/installs", self._wanted)
        assert answer.status in (201, 409), answer.body  # 409: it was done, and says which install it is
        self._install_id = str(answer.json()["install_id"])
        seen = await self._bench.admin.get(f"/api/installs/{self._install_id}")
        assert (seen.json()["status"], seen.json()["version"]) == ("enabled", "1.0.0")
        return self._install_id

    async def end(self) -> None:
        if self._install_id:
            await self._bench.admin.call("DELETE", f"/api/installs/{self._install_id}")


class Upgrade:
    """From one version to the next; the next round goes on from there."""

    def __init__(self, bench: Bench) -> None:
        self._bench, self._name = bench, f"tests.killed-upgrade-{bench.mark}"
        self._rows = Installed(bench.stack, self._name)
        self._install_id, self._before, self._after = "", "", "1.0.0"

    async def begin(self, number: int) -> None:
        await self._bench.published(self._name, self._after)
        if not self._install_id:
            wanted = {"extension": self._name, "version": self._after, "grants": {}}
            answer = await self._bench.admin.post("/api/installs", wanted)
            assert answer.status == 201, answer.body
            self._install_id = str(answer.json()["install_id"])
        self._before, self._after = self._after, f"1.{number + 1}.0"
        await self._bench.published(self._name, self._after)

    async def act(self, base: str) -> None:
        await self._upgrade(base)

    async def check(self) -> str | None:
        found = await self._rows.look("upgrade", "install.upgraded")
        assert found is not None
        assert found[:2] == (self._install_id, "enabled")
        assert found[2] in (self._before, self._after)
        return f"{found[0]} {found[2]}" if found[2] == self._after else None

    async def repeat(self) -> str:
        answer = await self._upgrade(self._bench.stack.gateway_url)
        assert answer.status in (200, 409), answer.body  # 409: it runs this version already
        seen = await self._bench.admin.get(f"/api/installs/{self._install_id}")
        assert (seen.json()["status"], seen.json()["version"]) == ("enabled", self._after)
        return f"{self._install_id} {self._after}"

    async def end(self) -> None:
        if self._install_id:
            await self._bench.admin.call("DELETE", f"/api/installs/{self._install_id}")

    async def _upgrade(self, base: str) -> Any:
        path = f"/api/installs/{self._install_id}/upgrade"
        return await self._bench.admin.post(path, {"version": self._after}, base=base)


STEPS: dict[str, type[Publish | Install | Upgrade]] = {"publish": Publish, "install": Install, "upgrade": Upgrade}


async def _tried(step: Step, base: str) -> None:
    """The call, whatever becomes of it: its gateway may be gone at any moment."""
    try:
        await step.act(base)
    except GONE:
        return


@pytest.mark.parametrize("name", STEPS)
async def test_a_gateway_killed_at_any_moment_leaves_the_old_state_or_the_new_one(
    admin: Visitor, tmp_path: Path, name: str
) -> None:
    chance = random.Random(f"{SEED} {name}")
    step: Step = STEPS[name](Bench(admin, tmp_path))
    kills = len(range(list(STEPS).index(name), KILLS, len(STEPS)))
    done = 0
    try:
        await step.begin(0)
        async with another_gateway(admin.stack) as gateway:
            began = time.monotonic()
            await step.act(gateway.url)
            takes_s = time.monotonic() - began
        assert await step.repeat() == await step.check()
        for number in range(1, kills + 1):
            await step.begin(number)
            async with another_gateway(admin.stack) as gateway:
                call = asyncio.create_task(_tried(step, gateway.url))
                await asyncio.sleep(chance.uniform(0, 2 * takes_s))
                await gateway.kill()
                await call
            left = await step.check()
            done += left is not None
            same = await step.repeat()
            assert left in (None, same), (SEED, name, number)
            assert await step.check() == same
    finally:
        await step.end()
    print(f"\n{name}: {kills} kills within {takes_s * 2:.2f} s of seed {SEED}, {done} after the new state was there")
