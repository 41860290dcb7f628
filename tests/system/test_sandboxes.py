"""Where guests run: processes that hold nothing, die alone, and never meet two tenants."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest

from deploy.local.record import Stack
from tests.system.acting import Visitor
from tests.system.runners import (
    another_runner,
    can_read_memory,
    environment_of,
    execute,
    memory_of,
    metric,
    processes_below,
    sandboxes_of,
)

HELLO = "/api/ext/alga.samples.hello-quickjs"


def listening_inodes() -> set[str]:
    """The socket inodes that accept connections on this machine."""
    found: set[str] = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                found.add(fields[9])
    return found


def open_files(pid: int) -> list[str]:
    """What a process holds open."""
    return [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]


async def test_a_killed_sandbox_costs_its_call_and_the_next_one_succeeds(admin: Visitor, stack: Stack) -> None:
    await admin.get(f"{HELLO}/hello")
    running = asyncio.create_task(admin.get(f"{HELLO}/loop"))
    busiest: int | None = None
    async with asyncio.timeout(4):
        while busiest is None:
            await asyncio.sleep(0.05)
            busiest = next((pid for pid in sandboxes_of(stack.pids["runner"]) if state_of(pid) == "R"), None)
    os.kill(busiest, signal.SIGKILL)
    answer = await running
    assert (answer.status, answer.code) == (502, "guest_aborted")
    assert (await admin.get(f"{HELLO}/hello")).status == 200


def state_of(pid: int) -> str:
    """The scheduler's letter for a process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@pytest.mark.skipif(not can_read_memory(), reason="only root may look into another process")
async def test_no_guest_process_holds_a_listener_a_credential_or_another_tenants_request(
    admin: Visitor, stack: Stack
) -> None:
    canaries = {tenant: f"canary-of-{tenant}-7f3a91".encode() for tenant in ("acme", "globex")}
    for tenant, canary in canaries.items():
        visitor = admin.with_token(stack.tenant(tenant).admin_token)
        answers = await asyncio.gather(
            *(visitor.call("POST", f"{HELLO}/echo", data=canary * 20) for _ in range(4)),
        )
        assert {answer.body for answer in answers} == {canary * 20}
    environment = environment_of(stack.pids["runner"])
    secrets = [
        stack.runner_service_token,
        environment["STORAGE_S3_SECRET_KEY"],
        stack.tenant("acme").admin_token.rpartition(".")[2],
    ]
    listeners, seen = listening_inodes(), 0
    for pid in sandboxes_of(stack.pids["runner"]):
        assert Path(f"/proc/{pid}/environ").read_bytes().strip(b"\0") == b""
        held = open_files(pid)
        assert not {f"socket:[{inode}]" for inode in listeners} & set(held)
        assert sum(name.startswith("socket:") for name in held) == 1
        memory = memory_of(pid)
        assert [secret for secret in secrets if secret.encode() in memory] == []
        met = [tenant for tenant, canary in canaries.items() if canary in memory]
        assert len(met) <= 1
        seen += len(met)
    assert seen >= 2


async def test_the_runners_processes_run_guests_only_below_a_zygote(stack: Stack) -> None:
    below = processes_below(stack.pids["runner"])
    workers = [pid for pid, command in below.items() if "runner.worker" in command]
    assert workers
    for pid in sandboxes_of(stack.pids["runner"]):
        assert pid not in workers
        status = Path(f"/proc/{pid}/status").read_text()
        assert "NoNewPrivs:\t1" in status
        assert "Seccomp:\t2" in status


async def test_a_fresh_runner_serves_from_the_shared_artefact_without_compiling(
    admin: Visitor, stack: Stack, tmp_path: Path
) -> None:
    extension = stack.extension("hello-quickjs", "acme")
    before = await metric(admin, stack.compiler_url, "ext_compile")
    async with another_runner(stack, tmp_path) as runner:
        answer = await execute(admin, runner.url, extension)
        assert (answer.status, answer.json()["status"], answer.json()["usage"]["cold"]) == (200, 200, True)
        loads = await metric(admin, runner.url, "ext_cold_loads_total")
        assert loads == {'{stage="store"}': 1.0}
    assert await metric(admin, stack.compiler_url, "ext_compile") == before


async def test_a_restarted_runner_serves_from_its_disk(admin: Visitor, stack: Stack, tmp_path: Path) -> None:
    extension = stack.extension("hello-quickjs", "acme")
    async with another_runner(stack, tmp_path) as runner:
        assert (await execute(admin, runner.url, extension)).status == 200
    async with another_runner(stack, tmp_path) as runner:
        assert (await execute(admin, runner.url, extension)).status == 200
        assert await metric(admin, runner.url, "ext_cold_loads_total") == {'{stage="disk"}': 1.0}


async def test_a_tampered_artefact_is_never_run_and_the_true_one_is_fetched_again(
    admin: Visitor, stack: Stack, tmp_path: Path
) -> None:
    extension = stack.extension("hello-quickjs", "acme")
    async with another_runner(stack, tmp_path) as runner:
        assert (await execute(admin, runner.url, extension)).status == 200
    artefacts = [path for path in (tmp_path / "cache").rglob("*.cwasm.zst") if path.is_file()]
    assert artefacts
    for path in artefacts:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))
    async with another_runner(stack, tmp_path) as runner:
        answer = await execute(admin, runner.url, extension)
        assert (answer.status, answer.json()["status"]) == (200, 200)
        assert await metric(admin, runner.url, "ext_cold_loads_total") == {'{stage="store"}': 1.0}


async def test_a_runner_that_is_told_to_stop_finishes_what_is_under_way(
    admin: Visitor, stack: Stack, tmp_path: Path
) -> None:
    extension = stack.extension("hello-quickjs", "acme")
    async with another_runner(stack, tmp_path) as runner:
        assert (await execute(admin, runner.url, extension)).status == 200
        running = asyncio.create_task(execute(admin, runner.url, extension, "/loop"))
        await asyncio.sleep(0.3)
        os.kill(runner.pid, signal.SIGTERM)
        answer = await running
        assert (answer.status, answer.json()["error"]["code"]) == (504, "guest_timeout")
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(runner.url.rpartition(":")[2]))) != 0
