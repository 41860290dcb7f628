"""`EXT_ALLOW_UNSIGNED` through real services: a developer's machine runs what nobody signed, everybody else refuses it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from deploy.local.ports import random_free
from deploy.local.record import Stack
from deploy.local.rest import answers
from shared.bundle_writer import BundleDigest
from shared.keys import PrivateKey
from shared.signing import BundleStatement, unsigned_envelope
from tests.system.acting import Visitor, manifest, packed, signed
from tests.system.gateways import another_gateway
from tests.system.runners import START_MAX_S, STOP_MAX_S, another_runner, environment_of

pytestmark = [pytest.mark.security, pytest.mark.timeout(180, func_only=True)]
ALLOWED: Final = {"EXT_ALLOW_UNSIGNED": "1"}
UI: Final = {"type": "iframe", "entry": "ui/index.html"}


@contextlib.asynccontextmanager
async def another_compiler(stack: Stack, directory: Path, **changes: str) -> AsyncIterator[str]:
    """The stack's compiler once more, with these further settings; its address."""
    port = random_free()
    environment = environment_of(stack.pids["compiler"]) | {
        "COMPILER_BIND": f"127.0.0.1:{port}",
        "EXT_CACHE_ROOT": str(directory / "compiler"),
        **changes,
    }
    arguments = [sys.executable, "-m", "runner", "--role", "compiler"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(arguments, env=environment, stdout=log, stderr=log)
        try:
            async with asyncio.timeout(START_MAX_S):
                while not await answers(f"http://127.0.0.1:{port}/readyz"):
                    assert process.poll() is None, "the compiler ended while it started"
                    await asyncio.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(process.wait, STOP_MAX_S)


def unsigned(described: dict[str, Any], digest: BundleDigest) -> Any:
    """The envelope nobody signed, for a bundle."""
    statement = BundleStatement(
        **{name: described[name] for name in ("name", "publisher", "version")},
        content_hash=digest.content_hash,
        manifest_sha256=digest.manifest_sha256,
        component_sha256=digest.component_sha256,
        issued_at=datetime.now(UTC),
    )
    return msgspec.to_builtins(unsigned_envelope(statement))


async def test_what_nobody_signed_runs_on_a_developers_machine_and_nowhere_else(
    admin: Visitor, nobody: Visitor, stack: Stack, tmp_path: Path
) -> None:
    """Publish, install and serve through services that allow it; the stack's own, which do not, refuse each step."""
    described = manifest("tests.unsigned-allowed", f"1.0.{secrets.randbelow(1 << 30)}", ui=UI)
    data, digest = packed(tmp_path, described, None)
    envelope = unsigned(described, digest)
    refused = await admin.publish(data, envelope)
    assert (refused.status, refused.code) == (422, "signature_missing")
    install_id = ""
    async with contextlib.AsyncExitStack() as running:
        compiler = await running.enter_async_context(another_compiler(stack, tmp_path, **ALLOWED))
        allowing = {**ALLOWED, "COMPILER_BASE_URL": compiler}
        gateway = await running.enter_async_context(another_gateway(stack, **allowing))
        runner = await running.enter_async_context(another_runner(stack, tmp_path, **allowing))
        upload = await admin.call("POST", "/api/registry/bundles", data=data, base=gateway.url)
        path = f"/api/registry/bundles/{upload.json()['upload_id']}/finalize"
        taken = await admin.post(path, {"signature": envelope}, base=gateway.url)
        assert (taken.status, taken.json()["state"], taken.json()["unsigned"]) == (200, "ready", True), taken.body
        try:
            wanted = {"extension": described["name"], "version": described["version"], "grants": {}}
            strict = await admin.post("/api/installs", wanted)
            assert (strict.status, strict.code) == (422, "signature_missing")
            installed = await admin.post("/api/installs", wanted, base=gateway.url)
            assert installed.status == 201, installed.body
            install_id = installed.json()["install_id"]
            page = f"/ext-ui/{taken.json()['extension_id']}/{digest.content_hash}/index.html"
            served = await nobody.get(page, base=runner.public_url)
            assert (served.status, b"<!doctype html>" in served.body) == (200, True), served.body
            strict = await nobody.get(page, base=stack.runner_public_base)
            assert (strict.status, strict.code) == (502, "bundle_untrusted"), strict.body
        finally:
            if install_id:
                await admin.call("DELETE", f"/api/installs/{install_id}")


async def test_the_view_of_a_signed_version_says_that_it_is(admin: Visitor, stack: Stack, tmp_path: Path) -> None:
    described = manifest("tests.signed", f"1.0.{secrets.randbelow(1 << 30)}", ui=UI)
    data, digest = packed(tmp_path, described, None)
    key = PrivateKey.from_pem(Path(stack.signing_key).read_text())
    answer = await admin.publish(data, signed(described, digest, key))
    assert (answer.json()["state"], answer.json()["unsigned"]) == ("ready", False)


@pytest.mark.parametrize("service", ["gateway", "runner", "compiler"])
async def test_no_service_starts_in_production_with_unsigned_bundles_allowed(stack: Stack, service: str) -> None:
    role = {"gateway": ["gateway"], "runner": ["runner"], "compiler": ["runner", "--role", "compiler"]}[service]
    environment = environment_of(stack.pids[service]) | ALLOWED | {"EXT_MODE": "production"}
    environment.pop("GATEWAY_LOCAL_TENANT", None)
    environment.pop("EXT_EGRESS_ALLOW_PRIVATE", None)
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", *role], env=environment, capture_output=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert b"EXT_ALLOW_UNSIGNED" in done.stderr + done.stdout
