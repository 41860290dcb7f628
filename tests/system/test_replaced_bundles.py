"""Row T32 through the running platform: bytes that somebody replaced in the bundle store are never served or kept."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import pytest

from deploy.local.record import Stack
from gateway.objects import keys
from shared.keys import PrivateKey
from shared.limits import BUNDLE_MAX_BYTES
from tests.system.acting import Visitor, manifest, packed, signed
from tests.system.runners import another_runner, metric
from tests.system.stored_bundle import objects

SERVED_AGAIN_MAX_S = 20.0  # a refusal is remembered for some seconds

pytestmark = pytest.mark.security


async def test_t32_a_replaced_bundle_is_502_counted_not_kept_and_served_again_when_it_is_back(
    admin: Visitor, nobody: Visitor, stack: Stack, tmp_path: Path
) -> None:
    described = manifest(
        "tests.replaced", f"1.0.{secrets.randbelow(1 << 30)}", ui={"type": "iframe", "entry": "ui/index.html"}
    )
    data, digest = packed(tmp_path, described, None)
    key = PrivateKey.from_pem(Path(stack.signing_key).read_text())
    published = (await admin.publish(data, signed(described, digest, key))).json()
    wanted = {"extension": described["name"], "version": described["version"], "grants": {}}
    installed = await admin.post("/api/installs", wanted)
    assert installed.status == 201, installed.body
    page = f"/ext-ui/{published['extension_id']}/{digest.content_hash}/index.html"
    at = keys.bundle(digest.content_hash)
    try:
        async with objects(stack) as store, another_runner(stack, tmp_path) as runner:
            good = await store.get_small(at, BUNDLE_MAX_BYTES)
            assert good is not None
            assert good.data == data
            try:
                await store.call("put_object", Key=at, Body=data[:-1] + bytes([data[-1] ^ 1]))
                answer = await nobody.get(page, base=runner.public_url)
                assert (answer.status, answer.code) == (502, "bundle_untrusted"), answer.body
                counted = await metric(nobody, runner.url, "ext_cache_tampered_total")
                assert counted['{where="store"}'] == 1
                assert not [path for path in (runner.cache / "blobs").glob("archives/*") if path.is_file()]
            finally:
                await store.call("put_object", Key=at, Body=data)
            async with asyncio.timeout(SERVED_AGAIN_MAX_S):
                while (answer := await nobody.get(page, base=runner.public_url)).status != 200:
                    assert answer.code == "bundle_untrusted"
                    await asyncio.sleep(0.2)
            assert b"<!doctype html>" in answer.body
    finally:
        await admin.call("DELETE", f"/api/installs/{installed.json()['install_id']}")
