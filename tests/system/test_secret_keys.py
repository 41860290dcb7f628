"""Who can open secrets: runners alone, with keys that are rotated, or with Vault; no sandbox, compiler or core file."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy.local.record import Stack
from shared.sealing import SealingKey
from tests.openbao import KEY as VAULT_KEY
from tests.openbao import openbao
from tests.system.acting import Answer, Visitor
from tests.system.gateways import another_gateway
from tests.system.runners import (
    another_runner,
    can_read_memory,
    environment_of,
    memory_of,
    processes_below,
    sandboxes_of,
)
from tests.system.secret_keepers import CANARY, Keeper, installed, refusal, settles

pytestmark = [pytest.mark.guests, pytest.mark.timeout(300)]


# ---- processes: T63's secret side, cores ---------------------------------------------------------------------


@pytest.mark.skipif(not can_read_memory(), reason="only root may look into another process")
@pytest.mark.parametrize("engine", ["quickjs"])
async def test_t63_no_sandbox_holds_another_tenants_secret_or_the_sealing_key(
    keeper: Keeper, version: dict[str, Any], other: Visitor, stack: Stack
) -> None:
    canaries = {"acme": "canary-of-acme-5b1e", "globex": "canary-of-globex-5b1e"}
    theirs = await installed(other, version, granted=True)
    for one, value in ((keeper, canaries["acme"]), (theirs, canaries["globex"])):
        await one.put({"api_key": value})
        await settles(partial(one.get, "api_key"), {"value": value})
        await asyncio.gather(*(one.get("api_key") for _ in range(4)))
    pem = Path(environment_of(stack.pids["runner"])["RUNNER_SEALING_KEYS"]).read_text()
    key = SealingKey.from_pem(pem)
    raw = key._raw
    seen: set[str] = set()
    for pid in sandboxes_of(stack.pids["runner"]):
        memory = memory_of(pid)
        assert raw not in memory
        assert pem.splitlines()[1].encode() not in memory
        met = {tenant for tenant, canary in canaries.items() if canary.encode() in memory}
        assert len(met) <= 1
        seen |= met
    assert seen == set(canaries)  # it is there where it belongs, so looking for it is no empty promise
    below = processes_below(stack.pids["runner"])
    (holder, *_) = [pid for pid, command in below.items() if "runner.worker" in command]
    assert raw in memory_of(holder)
    for pid, command in processes_below(stack.pids["compiler"]).items() | {(stack.pids["compiler"], ("compiler",))}:
        assert raw not in memory_of(pid), command


async def test_t29_no_process_that_holds_secrets_leaves_a_core_file(stack: Stack) -> None:
    pids = [stack.pids["gateway"], stack.pids["runner"], *processes_below(stack.pids["runner"])]
    assert len(pids) >= 4
    for pid in pids:
        (line,) = [
            line
            for line in Path(f"/proc/{pid}/limits").read_text().splitlines()
            if line.startswith("Max core file size")
        ]
        assert line.split()[4:6] == ["0", "0"], pid


async def test_the_compiler_role_is_given_no_sealing_key(stack: Stack) -> None:
    assert not [name for name in environment_of(stack.pids["compiler"]) if "SEALING" in name or "VAULT" in name]
    assert "RUNNER_SEALING_KEYS" not in environment_of(stack.pids["gateway"])


# ---- rotation -----------------------------------------------------------------------------------------------


def reseal(stack: Stack, runner_url: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The operator's command, with the gateway's settings."""
    environment = environment_of(stack.pids["gateway"]) | {"RUNNER_BASE_URL": runner_url}
    return subprocess.run(
        [sys.executable, "-m", "gateway.reseal", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("engine", ["quickjs"])
async def test_a_key_is_rotated_without_typing_a_secret_anew(keeper: Keeper, stack: Stack, tmp_path: Path) -> None:
    await keeper.put({"api_key": CANARY})
    environment = environment_of(stack.pids["runner"])
    old = SealingKey.from_pem(Path(environment["RUNNER_SEALING_KEYS"]).read_text())
    new = SealingKey.generate()
    both = {"RUNNER_SEALING_KEYS": old.pem() + new.pem()}
    async with (
        another_runner(stack, tmp_path / "both", **both) as runner,
        another_gateway(
            stack, RUNNER_BASE_URL=runner.url, GATEWAY_SEALING_PUBLIC_KEYS=new.public.pem() + old.public.pem()
        ) as gateway,
    ):
        assert f"\t{old.key_id}\t" in reseal(stack, runner.url).stdout
        done = await asyncio.to_thread(reseal, stack, runner.url, "--to", new.key_id, "--batch", "1")
        assert done.returncode == 0, done.stderr
        assert old.key_id not in done.stdout
        assert "canary" not in done.stdout + done.stderr
        assert await keeper.get("api_key", base=gateway.url) == {"value": CANARY}
        assert (await keeper.put({"webhook": "sealed-with-the-old-key"})).status == 200  # by a gateway not told yet
        stuck = await asyncio.to_thread(reseal, stack, stack.runner_url, "--to", new.key_id)
        assert stuck.returncode == 1  # the stack's own runner has the old key only
        assert "secret_unavailable" not in stuck.stdout
        assert new.key_id in stuck.stderr
        await settles(partial(refusal, keeper), "secret_unavailable")  # the stack's gateway sends the new boxes now
        answer = await keeper.call("/get/api_key")
        assert new.key_id in answer.json()["detail"]
        back = await asyncio.to_thread(reseal, stack, runner.url, "--to", old.key_id)
        assert back.returncode == 0, back.stderr
        assert f"\t{new.key_id}\t" not in back.stdout
    await settles(partial(refusal, keeper), "")
    assert await keeper.get("api_key") == {"value": CANARY}


# ---- Vault --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["quickjs"])
async def test_secrets_can_be_kept_by_openbao_and_are_gone_with_it(
    keeper: Keeper, stack: Stack, tmp_path: Path
) -> None:
    async with openbao(tmp_path) as bao:
        writes = {"GATEWAY_VAULT_ADDR": bao.url, "GATEWAY_VAULT_TRANSIT_KEY": VAULT_KEY}
        writes["GATEWAY_VAULT_TOKEN"] = await bao.token("encrypt")
        role_id, secret_id = await bao.role("decrypt")
        reads = {"RUNNER_VAULT_ADDR": bao.url, "RUNNER_VAULT_TRANSIT_KEY": VAULT_KEY}
        reads |= {"RUNNER_VAULT_ROLE_ID": role_id, "RUNNER_VAULT_SECRET_ID": secret_id}
        async with (
            another_runner(stack, tmp_path / "runner", **reads) as runner,
            another_gateway(stack, RUNNER_BASE_URL=runner.url, **writes) as gateway,
        ):
            there = msgspec.structs.replace(keeper, visitor=_At(keeper.visitor, gateway.url))
            assert (await there.put({"api_key": CANARY})).json()["secrets"][1]["algorithm"] == "vault-transit:v1"
            assert await there.get("api_key") == {"value": CANARY}
            os.kill(bao.pid, signal.SIGSTOP)  # it accepts and says nothing
            try:
                assert await there.get("api_key") == {"error": "internal"}
                answer = await there.put({"webhook": "another-canary"})
                assert (answer.status, answer.code) == (502, "secret_unavailable")
            finally:
                os.kill(bao.pid, signal.SIGCONT)
            assert await there.get("api_key") == {"value": CANARY}
            # A runner without Vault refuses the whole call, before anything runs.
            await settles(partial(refusal, keeper), "secret_unavailable")
            assert (await keeper.put({"api_key": None})).status == 200


class _At(Visitor):
    """The same person at another gateway."""

    def __init__(self, visitor: Visitor, base: str) -> None:
        super().__init__(visitor._session, visitor.stack, visitor._token)
        self._base = base

    async def call(self, method: str, path: str, **more: Any) -> Answer:
        return await super().call(method, path, **({"base": self._base} | more))
