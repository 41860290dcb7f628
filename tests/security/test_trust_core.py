"""Whoever can write the store, the disk or an envelope, and is not the publisher or the compiler. Rows T32 to T35."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from runner.aot import artefacts
from runner.bundles.archive import Archives
from runner.bundles.background import Background
from runner.bundles.cache import DiskCache
from runner.bundles.statements import Statements
from shared.deadline import Deadline
from shared.errors import BundleUntrusted, Revoked, SignatureRefused
from shared.keys import PrivateKey
from shared.signing import Envelope, Signature, add_signature, pre_authentication_encoding, unsigned_envelope
from shared.trust import TrustBundle, TrustedKey
from tests.runner.aot.signed_code import AOT, pair, taken
from tests.runner.waiting import until
from tests.security.test_cache import CODE, KEY, Node
from tests.shared.signatures import ALICE, BOB, ENVELOPE, EVE, NOON, PAYLOAD, STATEMENT, signed, trust, verify

ORDER = 2**252 + 27742317777372353535851937790883648493  # of the Ed25519 group, RFC 8032 §5.1


def soon() -> Deadline:
    return Deadline.after_ms(20_000)


class Vault:
    """A node with its archives beside its loaders, all before the same store and disk."""

    def __init__(self, folder: Path, background: Background) -> None:
        self.node = Node(folder, background)
        self.cache = DiskCache(self.node.disk, max_bytes=1 << 26)
        self.statements = Statements(self.node.store, self.cache, self.node.trust, background)
        self.archives = Archives(self.node.store, self.cache, self.statements, self.node.metrics.tampered)

    async def archive(self) -> bytes:
        """The archive, as whoever unpacks it gets it."""
        async with self.archives.opened(self.node.bundle.content_hash, soon()) as file:
            return file.read()

    async def code(self) -> tuple[bytes, str]:
        """The native code as a fresh worker process of this node gets it, and where it came from."""
        return taken(await self.node.loader().load(self.node.bundle.content_hash, soon()))

    def kept(self, kind: str) -> list[Path]:
        """What the disk holds of one kind."""
        return [path for path in (self.node.disk / "blobs").glob(f"{kind}/*") if path.is_file()]

    def tampered(self, where: str) -> float:
        """The alert's metric."""
        return self.node.count(f'ext_cache_tampered_total{{where="{where}"}}')


@pytest_asyncio.fixture(name="vault")
async def a_vault(tmp_path: Path) -> AsyncIterator[Vault]:
    async with Background() as background:
        vault = Vault(tmp_path, background)
        await vault.cache.open()
        yield vault
        for loader in vault.node.loaders:
            await loader.aclose()
        await vault.statements.aclose()


# ---- T32 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "replaced",
    [
        lambda good: good[:-1] + bytes([good[-1] ^ 1]),
        lambda good: good[:-1],
        lambda good: good + b"\0",
        lambda _good: b"",
        lambda _good: b"<html>",
    ],
    ids=["a bit", "shorter", "longer", "empty", "another"],
)
async def test_t32_replaced_bytes_of_a_bundle_are_502_not_cached_and_counted(
    vault: Vault, replaced: Callable[[bytes], bytes]
) -> None:
    bundle, store = vault.node.bundle, vault.node.store
    good = store.held[bundle.archive_key]
    store.held[bundle.archive_key] = replaced(good)
    with capture_logs() as logged, pytest.raises(BundleUntrusted) as caught:
        await vault.archive()
    assert (caught.value.status, caught.value.code) == (502, "bundle_untrusted")
    assert vault.kept("archives") == []
    assert vault.tampered("store") == 1
    assert [line["log_level"] for line in logged if line["event"] == "cache_tampered"] == ["error"]
    store.held[bundle.archive_key] = good  # and the good bytes are served as soon as they are back
    assert await vault.archive() == good
    assert vault.tampered("store") == 1


async def test_t32_replaced_signatures_are_502_and_not_cached(vault: Vault) -> None:
    bundle, store = vault.node.bundle, vault.node.store
    stranger = add_signature(msgspec.structs.replace(ENVELOPE, signatures=()), EVE)
    store.held[bundle.signature_key] = msgspec.json.encode(stranger)
    with pytest.raises(BundleUntrusted) as caught:
        await vault.archive()
    assert (caught.value.status, caught.value.code) == (502, "bundle_untrusted")
    assert vault.kept("signatures") == []
    assert store.reads[bundle.archive_key] == 0  # nothing of it was even fetched


# ---- T33 ------------------------------------------------------------------------------------------------------


def _with(raw: bytes, key_id: str = ALICE.key_id) -> Envelope:
    return msgspec.structs.replace(ENVELOPE, signatures=(Signature(key_id, base64.b64encode(raw).decode()),))


def _plus_order() -> Envelope:
    raw = base64.b64decode(ENVELOPE.signatures[0].sig)
    s = int.from_bytes(raw[32:], "little") + ORDER
    return _with(raw[:32] + s.to_bytes(32, "little"))


def _said_of(kind: str) -> Envelope:
    """A signature of the trusted key over the same bytes, made for another application."""
    return _with(ALICE.sign(pre_authentication_encoding(kind, PAYLOAD)))


def _expired() -> TrustBundle:
    return trust(TrustedKey(key=ALICE.public, not_after=NOON - timedelta(seconds=1)))


BOTH = trust(ALICE, BOB, threshold=2)
REFUSED: dict[str, tuple[Envelope, TrustBundle, str]] = {
    "unsigned": (unsigned_envelope(STATEMENT), trust(ALICE), "signature_missing"),
    "an unknown key": (signed(PAYLOAD, EVE), trust(ALICE), "signature_untrusted_key"),
    "an unknown key under a known id": (
        _with(EVE.sign(pre_authentication_encoding(ENVELOPE.payloadType, PAYLOAD))),
        trust(ALICE),
        "signature_invalid",
    ),
    "one key twice for a threshold of two": (
        msgspec.structs.replace(ENVELOPE, signatures=ENVELOPE.signatures * 2),
        BOTH,
        "signature_threshold",
    ),
    "one key a hundred times": (
        msgspec.structs.replace(ENVELOPE, signatures=ENVELOPE.signatures * 100),
        BOTH,
        "signature_threshold",
    ),
    "one key and a stranger": (signed(PAYLOAD, ALICE, EVE), BOTH, "signature_threshold"),
    "S plus L": (_plus_order(), trust(ALICE), "signature_invalid"),
    "the payload itself, signed": (_with(ALICE.sign(PAYLOAD)), trust(ALICE), "signature_invalid"),
    "signed as native code": (_said_of(artefacts.PAYLOAD_TYPE), trust(ALICE), "signature_invalid"),
    "signed as in-toto": (_said_of("application/vnd.in-toto+json"), trust(ALICE), "signature_invalid"),
    "another payload type": (signed(PAYLOAD, kind="application/vnd.in-toto+json"), trust(ALICE), "signature_invalid"),
    "another payload type, said to be ours": (
        msgspec.structs.replace(
            signed(PAYLOAD, kind="application/vnd.alga.artefact+json"), payloadType=ENVELOPE.payloadType
        ),
        trust(ALICE),
        "signature_invalid",
    ),
    "a revoked key": (ENVELOPE, trust(ALICE, revoked=frozenset({ALICE.key_id})), "signature_key_revoked"),
    "an expired key": (ENVELOPE, _expired(), "signature_key_expired"),
    "another publisher's key": (
        ENVELOPE,
        trust(TrustedKey(key=ALICE.public, publishers=frozenset({"globex"}))),
        "signature_publisher_mismatch",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_t33_what_does_not_count_is_refused_by_its_own_code(what: str) -> None:
    envelope, bundle, code = REFUSED[what]
    with pytest.raises(SignatureRefused) as caught:
        verify(envelope, bundle, at=NOON)
    assert (caught.value.status, caught.value.code) == (422, code)


def test_t33_what_counts_is_accepted() -> None:
    assert verify(at=NOON) == STATEMENT
    assert verify(signed(PAYLOAD, ALICE, BOB), BOTH, at=NOON) == STATEMENT
    assert verify(signed(PAYLOAD, EVE, BOB, ALICE, BOB), BOTH, at=NOON) == STATEMENT


async def test_t33_nothing_is_decompressed_or_fetched_for_a_signature_that_does_not_count(vault: Vault) -> None:
    bundle, store = vault.node.bundle, vault.node.store
    store.held[bundle.archive_key] = b"what no decompressor may see"
    for envelope in (unsigned_envelope(bundle.statement), signed(PAYLOAD, PrivateKey.generate())):
        store.held[bundle.signature_key] = msgspec.json.encode(envelope)
        fresh = Statements(store, vault.cache, vault.node.trust, Background())
        with pytest.raises(BundleUntrusted):
            async with Archives(store, vault.cache, fresh).opened(bundle.content_hash, soon()):
                raise AssertionError("handed out")
    assert store.reads[bundle.archive_key] == 0


# ---- T34 ------------------------------------------------------------------------------------------------------


async def test_t34_a_revoked_key_stops_what_memory_and_disk_hold_at_the_next_use(vault: Vault) -> None:
    vault.node.store.held |= pair(vault.node.bundle, CODE)
    loader = vault.node.loader()
    assert taken(await loader.load(vault.node.bundle.content_hash, soon())) == (CODE, "store")
    assert taken(await loader.load(vault.node.bundle.content_hash, soon())) == (CODE, "memory")
    await vault.archive()
    await until(lambda: len(vault.kept("artefacts")) == 2 and vault.kept("archives") and vault.kept("signatures"))
    before = dict(vault.node.store.reads)
    vault.node.trust.revoke(KEY.key_id)
    for use in (lambda: loader.load(vault.node.bundle.content_hash, soon()), vault.code, vault.archive):
        with pytest.raises(Revoked):
            await use()
    fetched = vault.node.store.reads - type(vault.node.store.reads)(before)
    assert set(fetched) <= {vault.node.bundle.signature_key}  # a new signature was looked for, and nothing else


# ---- T35 ------------------------------------------------------------------------------------------------------


async def test_t35_code_an_attacker_wrote_is_asked_of_the_compiler_again_and_counted(vault: Vault) -> None:
    node = vault.node
    node.store.held |= pair(node.bundle, b"\x90" * 4096, PrivateKey.generate())
    node.compiler.leaves = pair(node.bundle, CODE)
    with capture_logs() as logged:
        assert await vault.code() == (CODE, "compiled")
    assert node.compiler.asked == 1
    assert vault.tampered("store") == 1
    assert [(line["log_level"], line["where"]) for line in logged if line["event"] == "cache_tampered"] == [
        ("error", "store")
    ]


async def test_t35_code_an_attacker_wrote_onto_disk_and_store_is_run_from_neither(vault: Vault) -> None:
    node = vault.node
    node.store.held |= pair(node.bundle, CODE)
    assert await vault.code() == (CODE, "store")
    await until(lambda: len(vault.kept("artefacts")) == 2)
    evil = pair(node.bundle, b"\x90" * len(CODE), PrivateKey.generate())
    node.store.held |= evil
    for path, name in zip(sorted(vault.kept("artefacts")), sorted(evil), strict=True):
        path.write_bytes(evil[name])
    node.compiler.leaves = pair(node.bundle, CODE)
    assert await vault.code() == (CODE, "compiled")
    assert node.compiler.asked == 1
    assert (vault.tampered("disk"), vault.tampered("store")) == (1, 1)


async def test_t35_a_publishers_key_signs_no_native_code(vault: Vault) -> None:
    """The two kinds of trust are apart: a bundle's key is worth nothing under `aot/`."""
    node = vault.node
    node.store.held |= pair(node.bundle, b"\x90" * 4096, KEY)
    node.compiler.leaves = pair(node.bundle, CODE, AOT)
    assert await vault.code() == (CODE, "compiled")
    assert vault.tampered("store") == 1
