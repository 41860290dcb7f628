"""Native code before a roll-out, as an operator does it: the command as a process, the compiler role's credentials, a
real object store with bundles in every state, real compilations.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from deploy.local.s3 import S3, s3
from runner.aot import artefacts
from runner.aot.artefacts import Expected
from runner.aot.precompile import Report
from runner.bundles.objects import Objects, open_objects
from runner.sandbox.engine import CPU_TARGET, EngineOptions, engine_id
from runner.usable import usable_cores
from shared.errors import BundleNotFound
from shared.ids import digest_hex
from shared.keys import PrivateKey
from tests.runner.aot.compiler_role import AOT, CALLER, PUBLISHER, soon
from tests.runner.aot.heavy import children, heavy_guest
from tests.runner.conftest import store_settings
from tests.runner.published import Published, component, publish
from tests.runner.waiting import until

pytestmark = [pytest.mark.system, pytest.mark.guests, pytest.mark.slow]

ENGINE = engine_id(EngineOptions())
REVOKED = PrivateKey.generate()
RUN_MAX_S = 100


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[S3]:
    """A store of its own, since all of it is looked at."""
    async with s3(tmp_path_factory.mktemp("precompile-s3") / "objects", keep=False) as running:
        yield running


@pytest.fixture
async def objects(server: S3, tmp_path: Path) -> AsyncIterator[Objects]:
    """The gateway's way to the store, emptied first: another test's bundles would count."""
    login = server.gateway
    async with open_objects(store_settings(tmp_path, server.endpoint, login.access_key, login.secret_key)) as opened:
        for prefix in ("sha256/", "aot/"):
            await _emptied(opened, prefix)
        yield opened


async def _emptied(objects: Objects, prefix: str) -> None:
    pages = objects._client.get_paginator("list_objects_v2")
    async for page in pages.paginate(Bucket=objects._bucket, Prefix=prefix):
        for one in page.get("Contents", ()):
            await objects._client.delete_object(Bucket=objects._bucket, Key=one["Key"])


def trust() -> str:
    """Both keys, one of them revoked."""
    keys = [{"key_id": key.key_id, "public_key": key.public.pem(), "publishers": ["*"]} for key in (PUBLISHER, REVOKED)]
    keys[1]["revoked_at"] = "2026-01-01T00:00:00Z"
    return msgspec.json.encode({"version": 1, "keys": keys}).decode()


class Ended(msgspec.Struct, frozen=True):
    """What a run left behind."""

    status: int
    out: str
    err: str

    def report(self) -> Report:
        return msgspec.json.decode(self.out, type=Report)


class Command:
    """The command with the compiler role's settings."""

    def __init__(self, server: S3, root: Path) -> None:
        self._environment = {
            "PATH": os.environ["PATH"],
            "EXT_MODE": "local",
            "EXT_CACHE_ROOT": str(root / "precompile"),
            "SIGNING_TRUST_BUNDLE": trust(),
            "STORAGE_S3_ENDPOINT": server.endpoint,
            "STORAGE_S3_ACCESS_KEY": server.compiler.access_key,
            "STORAGE_S3_SECRET_KEY": server.compiler.secret_key,
            "STORAGE_S3_BUCKET": server.bucket,
            "STORAGE_S3_FORCE_PATH_STYLE": "1",
            "COMPILER_SIGNING_KEY": AOT.pem(),
            "COMPILER_CALLER_KEYS": CALLER.public.pem(),
        }

    async def start(self, *arguments: str, **changes: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "runner.precompile",
            *arguments,
            env=self._environment | changes,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def __call__(self, *arguments: str, given: str = "", **changes: str) -> Ended:
        process = await self.start(*arguments, **changes)
        async with asyncio.timeout(RUN_MAX_S):
            out, err = await process.communicate(given.encode())
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), err.decode())


@pytest.fixture
def command(server: S3, tmp_path: Path) -> Command:
    return Command(server, tmp_path)


Stored = Callable[..., Awaitable[Published]]


@pytest.fixture
def stored(objects: Objects, tmp_path: Path) -> Stored:
    """Puts a bundle into the store as publishing does; an accepted one has its manifest beside it."""

    async def put(
        name: str,
        *,
        accepted: bool = True,
        key: PrivateKey = PUBLISHER,
        files: dict[str, bytes] | None = None,
        **more: Any,
    ) -> Published:
        members = files or {"dist/main.wasm": component(name.encode())}
        bundle = publish(
            tmp_path / name, key, members, ui=None if "dist/main.wasm" in members else more.pop("ui"), **more
        )
        for key_of, data in bundle.objects.items():
            await objects.write(key_of, data, soon())
        if accepted:
            await objects.write(f"sha256/{digest_hex(bundle.content_hash)}/manifest.json", b"{}", soon())
        return bundle

    return put


UI = {"type": "iframe", "entry": "ui/dist/index.html"}


async def has_code(objects: Objects, bundle: Published) -> bool:
    """Whether a runner would load what the store has for it."""
    expected = Expected(
        component_sha256=bundle.statement.component_sha256 or "", engine_id=ENGINE, cpu_target=CPU_TARGET
    )
    where = ENGINE, expected.component_sha256
    try:
        code = await objects.read(artefacts.object_key(*where), max_bytes=1 << 24, deadline=soon())
        signature = await objects.read(artefacts.signature_key(*where), max_bytes=1 << 14, deadline=soon())
    except BundleNotFound:
        return False
    artefacts.verify(signature, code, expected, [AOT.public])
    return True


async def test_everything_that_may_run_gets_its_code_and_the_gate_opens(
    objects: Objects, stored: Stored, command: Command
):
    runs = [await stored("one"), await stored("two")]
    page = await stored("page", files={"ui/dist/index.html": b"hello"}, ui=UI, capabilities=None)
    rejected = await stored("rejected", accepted=False)
    withdrawn = await stored("withdrawn", key=REVOKED)
    ended = await command("--engine", ENGINE, "--json")
    report = ended.report()
    assert (ended.status, report.complete, report.engine_id, report.cpu_target) == (0, True, ENGINE, CPU_TARGET)
    assert report.counts == {"compiled": 2, "rejected": 1, "revoked": 1, "ui-only": 1}
    assert (report.total, report.needed, report.ready, report.unready) == (5, 3, 3, [])
    assert [await has_code(objects, bundle) for bundle in runs] == [True, True]
    assert not await has_code(objects, rejected)
    assert not await has_code(objects, withdrawn)
    lines = ended.err.splitlines()
    assert lines[0] == f"5 digests, {usable_cores()} at once, for {ENGINE}"
    assert sorted(line[:5] for line in lines[1:]) == ["[1/5]", "[2/5]", "[3/5]", "[4/5]", "[5/5]"]
    for bundle in (*runs, page, rejected, withdrawn):
        assert sum(bundle.content_hash in line for line in lines) == 1


async def test_a_second_run_finds_everything_and_a_check_compiles_nothing(
    objects: Objects, stored: Stored, command: Command
):
    first = await stored("one")
    checked = await command("--engine", "current", "--check", "--json")
    assert (checked.status, checked.report().counts) == (1, {"missing": 1})
    assert not await has_code(objects, first)
    assert (await command("--engine", "current")).status == 0
    second = await stored("two")
    checked = await command("--engine", "current", "--check")
    assert checked.status == 1
    assert checked.out.startswith("1 of 2 ready (50 %)")
    assert f"{second.content_hash} acme.com.acme.hello 1.0.0 missing" in checked.out
    again = await command("--engine", "current", "--json")
    assert (again.status, again.report().counts) == (0, {"compiled": 1, "present": 1})
    assert (await command("--engine", "current", "--check")).status == 0


async def test_what_failed_is_named_with_its_reason_and_closes_the_gate_until_it_is_repaired(
    objects: Objects, stored: Stored, command: Command
):
    good, broken, strange = [await stored("one"), await stored("two"), await stored("odd", key=PrivateKey.generate())]
    await objects.write(broken.archive_key, b"something else", soon())
    ended = await command("--engine", "current", "--json")
    report = ended.report()
    assert (ended.status, report.complete, report.needed, report.ready) == (1, False, 3, 1)
    assert {one.content_hash: one.code for one in report.unready} == {
        broken.content_hash: "bundle_untrusted",
        strange.content_hash: "bundle_untrusted",
    }
    assert all(one.detail for one in report.unready)
    assert await has_code(objects, good)
    await objects.write(broken.archive_key, broken.objects[broken.archive_key], soon())
    listed = f"# what is installed\n{good.content_hash} acme\n{digest_hex(broken.content_hash)}\n"
    ended = await command("--engine", "current", "--digests", "-", "--json", given=listed)
    assert (ended.status, ended.report().counts) == (0, {"compiled": 1, "present": 1})


async def test_a_replaced_artefact_closes_the_gate_and_is_made_again(
    objects: Objects, stored: Stored, command: Command
):
    bundle = await stored("one")
    assert (await command("--engine", "current")).status == 0
    key = artefacts.object_key(ENGINE, bundle.statement.component_sha256 or "")
    await objects.write(key, b"evil", soon())
    ended = await command("--engine", "current", "--check")
    assert ended.status == 1
    assert '"event":"cache_tampered"' in ended.err.replace(" ", "")
    assert (await command("--engine", "current")).status == 0
    assert await has_code(objects, bundle)


async def test_everything_in_a_list_counts_accepted_or_not(stored: Stored, command: Command, tmp_path: Path):
    rejected = await stored("rejected", accepted=False)
    absent = "sha256:" + "0" * 64
    file = tmp_path / "digests"
    file.write_text(f"{rejected.content_hash}\n{absent}\n{rejected.content_hash}\n")
    ended = await command("--engine", "current", "--digests", str(file), "--json")
    assert (ended.status, ended.report().counts) == (1, {"compiled": 1, "failed": 1})
    assert [(one.content_hash, one.code) for one in ended.report().unready] == [(absent, "bundle_not_found")]


@pytest.mark.parametrize(
    ("arguments", "changes", "says"),
    [
        (["--engine", "wasmtime-51.0.0-0123456789abcdef"], {}, "needs wasmtime 51.0.0"),
        (["--engine", ENGINE], {"RUNNER_FUEL": "1"}, "its release or RUNNER_FUEL differs"),
        (["--engine", "current", "--digests", "-"], {}, "line 1 must begin with"),
        (["--engine", "current", "--digests", "/nonexistent"], {}, "No such file"),
        (["--engine", "current"], {"COMPILER_SIGNING_KEY": "none"}, "COMPILER_SIGNING_KEY"),
        (["--engine", "current"], {"SIGNING_TRUST_BUNDLE": "none"}, "trust bundle"),
        (["--engine", "current"], {"STORAGE_S3_SECRET_KEY": "wrong"}, "cannot be had: bundle_unavailable"),
    ],
)
async def test_a_run_that_cannot_be_begun_says_why_and_changes_nothing(
    objects: Objects, stored: Stored, command: Command, arguments: list[str], changes: dict[str, str], says: str
):
    bundle = await stored("one")
    ended = await command(*arguments, given="not a digest\n", **changes)
    assert (ended.status, ended.out) == (2, "")
    assert "error: " in ended.err
    assert says in ended.err
    assert not await has_code(objects, bundle)


async def test_an_empty_store_closes_the_gate_unless_it_may_be_empty(objects: Objects, command: Command):
    ended = await command("--engine", "current")
    assert ended.status == 1
    assert "is it the right bucket?" in ended.out
    assert (await command("--engine", "current", "--allow-empty")).status == 0


async def test_a_run_that_is_stopped_tells_how_far_it_came_and_the_next_one_goes_on(
    objects: Objects, stored: Stored, command: Command
):
    light = await stored("one")
    heavy = [await stored(f"heavy{n}", files={"dist/main.wasm": heavy_guest(60_000, n)}) for n in range(2)]
    digests = "".join(f"{one.content_hash}\n" for one in (light, *heavy))
    process = await command.start("--engine", "current", "--jobs", "1", "--digests", "-", "--json")
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(digests.encode())
    process.stdin.close()
    async with asyncio.timeout(RUN_MAX_S):
        while b"[1/3]" not in await process.stderr.readline():
            continue
        await until(lambda: children(process.pid))
        (compiling,) = children(process.pid)
        process.send_signal(signal.SIGTERM)
        out, _ = await process.communicate()
    report = msgspec.json.decode(out, type=Report)
    assert (process.returncode, report.complete, report.interrupted) == (1, False, True)
    assert (report.ready, report.needed, len(report.unready)) == (1, 3, 2)
    assert not Path(f"/proc/{compiling}").exists()
    again = await command("--engine", "current", "--jobs", "2", "--json")
    assert (again.status, again.report().counts) == (0, {"compiled": 2, "present": 1})
