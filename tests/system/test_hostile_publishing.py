"""Publishing under attack through the running gateway: nothing altered becomes a version, and every refusal is typed.

`TRUST_MUTATIONS` says how many altered bundles are published (`make test-trust`: 1,000), `TRUST_SEED` which ones. Row T65
stands here as well: what a manifest may not ask for is named, all of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy.local.record import Stack
from gateway.cli.key_files import trust_key
from shared.digest import content_hash_of, sha256_hex
from shared.errors import ManifestInvalid, by_code
from shared.keys import PrivateKey
from tests.shared.tar_parts import bundle, member
from tests.system.acting import Answer, Visitor, manifest
from tests.system.mutants import NOBODY, PUBLISHER, UI, Mutant, Mutants

MUTATIONS = int(os.environ.get("TRUST_MUTATIONS", "25"))
SEED = int(os.environ.get("TRUST_SEED") or secrets.randbelow(1 << 32))
SETTLES_MAX_S = 60.0

pytestmark = [pytest.mark.security, pytest.mark.timeout(120 + MUTATIONS, func_only=True)]


async def send(visitor: Visitor, archive: bytes, envelope: bytes) -> Answer:
    """Publish, with the envelope's text as it is; comes back when a limit says later."""
    async with asyncio.timeout(SETTLES_MAX_S):
        while True:
            answer = await visitor.upload(archive)
            if answer.status == 201:
                path = f"/api/registry/bundles/{answer.json()['upload_id']}/finalize"
                body = b'{"signature":' + envelope + b"}"
                answer = await visitor.call("POST", path, data=body, headers={"content-type": "application/json"})
            if answer.status != 429:
                return await settled(visitor, answer)
            await asyncio.sleep(float(answer.headers.get("retry-after", "1")))


async def settled(visitor: Visitor, answer: Answer) -> Answer:
    """The version once it is no longer being prepared."""
    while answer.status in (200, 202) and answer.json()["state"] == "preparing":
        await asyncio.sleep(0.05)
        answer = await visitor.get(f"/api/registry/versions/{answer.json()['version_id']}")
    return answer


def verdict(answer: Answer) -> str:
    """`ready`, or the code of the refusal."""
    if answer.status != 200:
        assert 400 <= answer.status < 500, answer.body
        return answer.code
    found = answer.json()
    return "ready" if found["state"] == "ready" else str(found["reason"]["code"])


@pytest.fixture(name="key")
async def a_trusted_key(stack: Stack) -> AsyncIterator[PrivateKey]:
    """A publisher's key of this suite alone, trusted by the running platform while the test runs."""
    path, key = Path(stack.trust_bundle), PrivateKey.generate()
    before = path.read_bytes()
    trust_key(path, key.public, (PUBLISHER, NOBODY))
    yield key
    path.write_bytes(before)


@pytest.fixture(name="mutants")
async def trusted_mutants(admin: Visitor, key: PrivateKey, tmp_path: Path) -> Mutants:
    """Where mutants come from; a sound bundle of the same kind is accepted, by every service that reads the key."""
    mutants = Mutants(SEED, key, tmp_path)
    async with asyncio.timeout(SETTLES_MAX_S):
        while True:
            described, data, digest = mutants.sound(900_000_000 + secrets.randbelow(1 << 24))
            found = verdict(await send(admin, data, mutants.signed(described, digest)))
            if found == "ready":
                return mutants
            assert found == "signature_untrusted_key"  # the services read their trust bundle once a second
            await asyncio.sleep(0.2)


async def test_no_mutation_of_a_valid_bundle_is_accepted_and_each_is_refused_by_a_code(
    admin: Visitor, mutants: Mutants
) -> None:
    counts: Counter[str] = Counter()
    start = secrets.randbelow(1 << 24) * 1000  # versions of their own, whoever ran before
    for number in range(MUTATIONS):
        mutant = mutants.draw(start + number)
        found = verdict(await send(admin, mutant.archive, mutant.envelope))
        assert found != "ready", (SEED, number, mutant.kind)
        assert by_code(found).code == found
        counts[f"{mutant.kind}: {found}"] += 1
    print(f"\n{MUTATIONS} mutations of seed {SEED}, 0 accepted:")
    for what, count in sorted(counts.items()):
        print(f"  {count:5} {what}")
    assert counts.total() == MUTATIONS


@pytest.mark.parametrize("part", ["archive", "envelope"])
async def test_a_sample_of_flipped_bits_is_refused_at_the_door(admin: Visitor, mutants: Mutants, part: str) -> None:
    described, data, digest = mutants.sound(secrets.randbelow(1 << 30), NOBODY)
    envelope = mutants.signed(described, digest).rstrip()
    whole = data if part == "archive" else envelope
    for at in range(0, len(whole), -(-len(whole) // 8)):
        altered = whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :]
        mutant = Mutant(part, altered, envelope) if part == "archive" else Mutant(part, data, altered)
        answer = await send(admin, mutant.archive, mutant.envelope)
        assert answer.status in (400, 422), (at, answer.body)
        assert by_code(answer.code).code == answer.code


# ---- T65 ------------------------------------------------------------------------------------------------------

T65: dict[str, tuple[dict[str, Any], set[tuple[str, str]]]] = {
    "the very input": (
        {"limits": {"memory_mib": -1, "timeout_ms": None}},
        {("$.limits.memory_mib", "unknown_field"), ("$.limits.timeout_ms", "unknown_field")},
    ),
    "below nothing": (
        {"limits": {"memoryMb": -1, "timeoutMs": -1}},
        {("$.limits.memoryMb", "range"), ("$.limits.timeoutMs", "range")},
    ),
    "null": (
        {"limits": {"memoryMb": None, "timeoutMs": None}},
        {("$.limits.memoryMb", "type"), ("$.limits.timeoutMs", "type")},
    ),
    "above the ceiling": (
        {"limits": {"memoryMb": 257, "timeoutMs": 30_001}},
        {("$.limits.memoryMb", "range"), ("$.limits.timeoutMs", "range")},
    ),
    "no whole number": (
        {"limits": {"memoryMb": 1.5, "timeoutMs": "100"}},
        {("$.limits.memoryMb", "type"), ("$.limits.timeoutMs", "type")},
    ),
    "an endpoint's": (
        {"api": {"endpoints": [{"method": "GET", "path": "/x", "timeoutMs": -1}]}, "limits": {"memoryMb": 0}},
        {("$.api.endpoints[0].timeoutMs", "range"), ("$.limits.memoryMb", "range")},
    ),
}


async def refused(visitor: Visitor, mutants: Mutants, text: bytes, version: str) -> list[dict[str, str]]:
    """The violations that the running platform finds in a manifest which its publisher signed."""
    archive = bundle(member(b"manifest.json", text), member(b"ui/index.html", b"<!doctype html>"))
    described, _, digest = mutants.sound(0)
    said = {
        "content_hash": content_hash_of(archive),
        "manifest_sha256": sha256_hex(text),
        "version": version,
    }
    answer = await send(visitor, archive, mutants.signed(described, digest, **said))
    assert answer.json()["state"] == "rejected", answer.body
    reason = answer.json()["reason"]
    assert reason["code"] == ManifestInvalid.code
    assert ManifestInvalid.status == 422
    found: list[dict[str, str]] = reason["violations"]
    return found


@pytest.mark.parametrize("what", T65)
async def test_t65_limits_that_a_manifest_may_not_ask_for_are_all_named(
    admin: Visitor, mutants: Mutants, what: str
) -> None:
    asked, named = T65[what]
    version = f"65.0.{secrets.randbelow(1 << 30)}"
    text = msgspec.json.encode(manifest("tests.mutant", version, ui=UI) | {"publisher": PUBLISHER} | asked)
    violations = await refused(admin, mutants, text, version)
    assert {(one["path"], one["code"]) for one in violations} == named
    assert all(one["message"] for one in violations)


async def test_t65_names_that_stand_twice_are_all_named(admin: Visitor, mutants: Mutants) -> None:
    version = f"65.1.{secrets.randbelow(1 << 30)}"
    whole = json.dumps(manifest("tests.mutant", version, ui=UI) | {"publisher": PUBLISHER})
    twice = '{"capabilities": [], "capabilities": ["cap:http.fetch"], "limits": {"memoryMb": 1, "memoryMb": 256}, '
    violations = await refused(admin, mutants, (twice + whole[1:]).encode(), version)
    assert {one["code"] for one in violations} == {"duplicate_key"}
    assert [name for name in ('"capabilities"', '"memoryMb"') if any(name in one["message"] for one in violations)] == [
        '"capabilities"',
        '"memoryMb"',
    ]
