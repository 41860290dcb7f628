"""The signed statement of a digest: fetched once, judged by current trust, refused in every way it can be wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from runner.bundles.background import Background
from runner.bundles.cache import DiskCache
from runner.bundles.statements import Statements
from shared.deadline import Deadline
from shared.errors import BundleNotFound, BundleUnavailable, BundleUntrusted, PlatformError, Revoked
from shared.ids import ContentHash
from shared.keys import PrivateKey
from shared.limits import SIGNATURE_MAX_BYTES
from shared.signing import Envelope, add_signature, decode_envelope, encode_envelope, sign_statement
from shared.trust import TrustStore
from tests.runner.memory_store import MemoryObjects
from tests.runner.published import Published, publish, trusting
from tests.runner.waiting import settled

ABSENT = ContentHash("sha256:" + "0" * 64)


def soon() -> Deadline:
    return Deadline.after_ms(10_000)


@pytest.fixture(scope="module")
def key() -> PrivateKey:
    return PrivateKey.generate()


@pytest.fixture(scope="module")
def bundle(key: PrivateKey, tmp_path_factory: pytest.TempPathFactory) -> Published:
    return publish(tmp_path_factory.mktemp("bundle"), key)


@pytest.fixture
def store(bundle: Published) -> MemoryObjects:
    return MemoryObjects(bundle.objects)


@pytest.fixture
def trust(key: PrivateKey) -> TrustStore:
    return trusting(key)


Make = Callable[[], Statements]


@pytest.fixture
async def make(store: MemoryObjects, trust: TrustStore, tmp_path: Path) -> AsyncIterator[Make]:
    """Further calls are further processes on the same node."""
    cache = DiskCache(tmp_path / "cache", max_bytes=1 << 20)
    await cache.open()
    async with Background() as background:
        yield lambda: Statements(store, cache, trust, background)


async def test_a_signed_digest_gives_its_statement(make: Make, bundle: Published):
    assert await make().verified(bundle.content_hash, soon()) == bundle.statement


async def test_a_thousand_callers_cost_one_read(make: Make, bundle: Published, store: MemoryObjects):
    statements = make()
    store.gate.clear()
    callers = [asyncio.create_task(statements.verified(bundle.content_hash, soon())) for _ in range(1000)]
    await asyncio.sleep(0)
    store.gate.set()
    assert len(set(map(id, await asyncio.gather(*callers)))) == 1
    assert store.reads == {bundle.signature_key: 1}


async def test_the_next_process_reads_the_disk(make: Make, bundle: Published, store: MemoryObjects):
    await make().verified(bundle.content_hash, soon())
    await settled()
    store.away = True
    assert await make().verified(bundle.content_hash, soon()) == bundle.statement
    assert store.reads.total() == 1


async def test_a_digest_the_store_has_not_is_asked_for_once(make: Make, store: MemoryObjects):
    statements = make()
    for _ in range(1000):
        with pytest.raises(BundleNotFound):
            await statements.verified(ABSENT, soon())
    assert store.reads.total() == 1


async def test_a_dead_store_is_unavailable_and_asked_for_once_a_second(
    make: Make, bundle: Published, store: MemoryObjects
):
    store.away = True
    statements = make()
    for _ in range(10):
        with pytest.raises(BundleUnavailable):
            await statements.verified(bundle.content_hash, soon())
    assert store.reads.total() == 1


async def test_a_caller_waits_no_longer_than_its_deadline_and_the_work_goes_on(
    make: Make, bundle: Published, store: MemoryObjects
):
    store.gate.clear()
    statements = make()
    with pytest.raises(BundleUnavailable):
        await statements.verified(bundle.content_hash, Deadline.after_ms(10))
    store.gate.set()
    assert await statements.verified(bundle.content_hash, soon()) == bundle.statement
    assert store.reads.total() == 1


# ---- what does not convince ---------------------------------------------------------------------------------


def _other_payload(envelope: bytes, bundle: Published) -> bytes:
    changed = msgspec.structs.replace(bundle.statement, publisher="globex")
    forged = sign_statement(changed, PrivateKey.generate())
    found = decode_envelope(envelope)
    return encode_envelope(Envelope(found.payloadType, forged.payload, found.signatures))


REFUSED: dict[str, Callable[[bytes, Published], bytes]] = {
    "a flipped bit": lambda envelope, _: envelope.replace(b'"sig":"', b'"sig":"A', 1)[: len(envelope)],
    "an unknown key": lambda _, bundle: encode_envelope(sign_statement(bundle.statement, PrivateKey.generate())),
    "another payload": _other_payload,
    "no signatures": lambda envelope, _: encode_envelope(
        msgspec.structs.replace(decode_envelope(envelope), signatures=())
    ),
    "an empty object": lambda _envelope, _: b"",
    "a page of a proxy": lambda _envelope, _: b"<html>please log in</html>",
    "more than it may have": lambda envelope, _: envelope + b" " * SIGNATURE_MAX_BYTES,
}


@pytest.mark.security
@pytest.mark.parametrize("how", REFUSED)
async def test_an_envelope_that_does_not_vouch_is_untrusted_and_not_kept(
    how: str, make: Make, bundle: Published, store: MemoryObjects, tmp_path: Path
):
    store.held[bundle.signature_key] = REFUSED[how](bundle.objects[bundle.signature_key], bundle)
    with pytest.raises(BundleUntrusted):
        await make().verified(bundle.content_hash, soon())
    await settled()
    assert not list((tmp_path / "cache" / "blobs").glob("*/*"))


@pytest.mark.security
async def test_a_good_signature_for_another_archive_is_untrusted(
    make: Make, bundle: Published, store: MemoryObjects, key: PrivateKey
):
    other = msgspec.structs.replace(bundle.statement, content_hash=ABSENT)
    store.held[bundle.signature_key] = encode_envelope(sign_statement(other, key))
    with pytest.raises(BundleUntrusted, match="content_hash_mismatch"):
        await make().verified(bundle.content_hash, soon())


@pytest.mark.security
async def test_a_replaced_file_on_disk_is_refused_and_fetched_again(
    make: Make, bundle: Published, store: MemoryObjects, tmp_path: Path
):
    await make().verified(bundle.content_hash, soon())
    await settled()
    (kept,) = (tmp_path / "cache" / "blobs" / "signatures").iterdir()
    kept.write_bytes(encode_envelope(sign_statement(bundle.statement, PrivateKey.generate())))
    assert await make().verified(bundle.content_hash, soon()) == bundle.statement
    assert store.reads.total() == 2


# ---- trust that changes -------------------------------------------------------------------------------------


@pytest.mark.security
async def test_a_revoked_key_stops_what_was_already_verified(
    make: Make, bundle: Published, trust: TrustStore, key: PrivateKey
):
    statements = make()
    await statements.verified(bundle.content_hash, soon())
    trust.revoke(key.key_id)
    with pytest.raises(Revoked):
        await statements.verified(bundle.content_hash, soon())


@pytest.mark.security
async def test_a_revoked_key_stops_it_even_while_the_store_is_away(
    make: Make, bundle: Published, trust: TrustStore, key: PrivateKey, store: MemoryObjects
):
    statements = make()
    await statements.verified(bundle.content_hash, soon())
    store.away = True
    trust.revoke(key.key_id)
    with pytest.raises(Revoked):
        await statements.verified(bundle.content_hash, soon())


async def test_revoking_another_key_changes_nothing_and_reads_nothing(
    make: Make, bundle: Published, trust: TrustStore, store: MemoryObjects
):
    statements = make()
    await statements.verified(bundle.content_hash, soon())
    trust.revoke(PrivateKey.generate().key_id)
    assert await statements.verified(bundle.content_hash, soon()) == bundle.statement
    assert store.reads.total() == 1


async def test_a_signature_added_after_a_revocation_is_found(
    bundle: Published, key: PrivateKey, store: MemoryObjects, tmp_path: Path
):
    second = PrivateKey.generate()
    trust = trusting(key, second)
    async with Background() as background:
        statements = Statements(store, DiskCache(tmp_path / "none", 0), trust, background)
        await statements.verified(bundle.content_hash, soon())
        both = add_signature(decode_envelope(bundle.objects[bundle.signature_key]), second)
        store.held[bundle.signature_key] = encode_envelope(both)
        trust.revoke(key.key_id)
        assert await statements.verified(bundle.content_hash, soon()) == bundle.statement
    assert store.reads.total() == 2


@pytest.mark.parametrize("error", [Revoked, BundleUntrusted, BundleNotFound])
def test_each_refusal_has_the_status_of_its_contract(error: type[PlatformError]):
    assert {Revoked: 403, BundleUntrusted: 502, BundleNotFound: 404}[error] == error.status
