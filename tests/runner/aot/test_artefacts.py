"""Native code is trusted for one component, one engine and exactly its bytes, or not at all."""

from __future__ import annotations

import base64
import fcntl
import mmap
import os
from pathlib import Path

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from runner.aot import artefacts
from runner.aot.artefacts import ArtefactTamperedError, Expected, Signed
from shared.keys import PrivateKey
from shared.signing import pre_authentication_encoding

pytestmark = pytest.mark.security

KEY = PrivateKey(bytes(range(32)))
EXPECTED = Expected(component_sha256="ab" * 32, engine_id="wasmtime-1-abc", cpu_target="x86_64-unknown-linux-gnu")
STORED = artefacts.pack(b"native code")
SIGNATURE = artefacts.sign(KEY, EXPECTED, STORED)


def refused(
    signature: bytes = SIGNATURE, stored: bytes = STORED, expected: Expected = EXPECTED, *keys: PrivateKey
) -> str:
    with pytest.raises(ArtefactTamperedError) as raised:
        artefacts.verify(signature, stored, expected, [key.public for key in keys or (KEY,)])
    return str(raised.value)


def test_what_was_signed_verifies():
    artefacts.verify(SIGNATURE, STORED, EXPECTED, [KEY.public])


def test_the_signature_objects_bytes_never_change():
    assert artefacts.sign(KEY, EXPECTED, b"stored") == (
        b'{"statement":"'
        + base64.b64encode(
            b'{"artefact_sha256":"87b04e58961f9a99d853d4046a0b5b793e7c3e4bbd21f5aca8fb17c20cdb1d8b","component_digest":"'
            + b"ab" * 32
            + b'","cpu_target":"x86_64-unknown-linux-gnu","engine_id":"wasmtime-1-abc"}'
        )
        + b'","key_id":"56475aa75463474c","signature":"'
        + b"RkPCTEJDl4VcM1D4r2ZSxLAE5/VHb+URN25hWRq7Up0niC2/RvyTvlbqP1zmYVhfTCgDRwskhw/BAd+MMFYhCA=="
        + b'"}'
    )


def test_the_keys_in_the_store_never_change():
    assert artefacts.object_key("e", "c") == "aot/e/c.cwasm.zst"
    assert artefacts.signature_key("e", "c") == "aot/e/c.cwasm.zst.sig"


def test_packing_twice_gives_the_same_bytes():
    code = os.urandom(1000) * 50
    assert artefacts.pack(code) == artefacts.pack(code)


# ---- what does not verify -----------------------------------------------------------------------------------


@given(st.integers(0, len(STORED) * 8 - 1))
def test_any_flipped_bit_of_the_artefact_is_refused(bit: int):
    changed = bytearray(STORED)
    changed[bit // 8] ^= 1 << bit % 8
    assert refused(stored=bytes(changed)) == "signed for another bytes"


@given(st.integers(0, len(SIGNATURE) * 8 - 1))
def test_any_flipped_bit_of_the_signature_object_is_refused_or_changes_nothing_that_is_signed(bit: int):
    changed = bytearray(SIGNATURE)
    changed[bit // 8] ^= 1 << bit % 8
    try:
        artefacts.verify(bytes(changed), STORED, EXPECTED, [KEY.public])
    except ArtefactTamperedError:
        return
    assert msgspec.json.decode(bytes(changed), type=Signed) == msgspec.json.decode(SIGNATURE, type=Signed)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_never_a_signature(data: bytes):
    refused(signature=data)


@pytest.mark.parametrize(
    ("changes", "which"),
    [
        ({"component_sha256": "cd" * 32}, "component"),
        ({"engine_id": "wasmtime-2-abc"}, "engine"),
        ({"cpu_target": "aarch64-unknown-linux-gnu"}, "cpu target"),
    ],
)
def test_a_good_artefact_under_another_name_is_refused(changes: dict[str, str], which: str):
    assert refused(expected=msgspec.structs.replace(EXPECTED, **changes)) == f"signed for another {which}"


def test_a_key_that_is_not_ours_is_refused():
    assert "lacks" in refused(SIGNATURE, STORED, EXPECTED, PrivateKey.generate())


def test_another_keys_signature_under_our_key_id_is_refused():
    forged = msgspec.json.decode(artefacts.sign(PrivateKey.generate(), EXPECTED, STORED), type=Signed)
    assert "does not fit" in refused(msgspec.json.encode(msgspec.structs.replace(forged, key_id=KEY.key_id)))


def test_one_of_several_keys_suffices_so_that_they_can_be_rotated():
    artefacts.verify(SIGNATURE, STORED, EXPECTED, [PrivateKey.generate().public, KEY.public])


def test_a_signature_made_for_a_bundle_does_not_fit():
    signed = msgspec.json.decode(SIGNATURE, type=Signed)
    statement = base64.b64decode(signed.statement)
    other = KEY.sign(pre_authentication_encoding("application/vnd.alga.bundle+json", statement))
    assert "does not fit" in refused(
        msgspec.json.encode(msgspec.structs.replace(signed, signature=base64.b64encode(other).decode()))
    )


def test_a_signed_text_that_is_no_statement_is_refused():
    body = b'{"component_digest":1}'
    made = Signed(
        statement=base64.b64encode(body).decode(),
        key_id=KEY.key_id,
        signature=base64.b64encode(KEY.sign(pre_authentication_encoding(artefacts.PAYLOAD_TYPE, body))).decode(),
    )
    assert refused(msgspec.json.encode(made)) == "the signed statement is not one"


# ---- into memory --------------------------------------------------------------------------------------------


def test_unpacked_memory_holds_the_code_and_can_never_change():
    descriptor, size = artefacts.unpack_sealed(artefacts.pack(b"native code"))
    try:
        assert os.pread(descriptor, 100, 0) == b"native code"
        assert size == 11
        assert not os.get_inheritable(descriptor)
        with pytest.raises(PermissionError):
            os.pwrite(descriptor, b"x", 0)
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, 0)
        with pytest.raises(PermissionError):
            mmap.mmap(descriptor, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        with pytest.raises(PermissionError):
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, 0)
    finally:
        os.close(descriptor)


def test_code_beyond_the_limit_is_refused_and_its_memory_given_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(artefacts, "ARTEFACT_MAX_BYTES", 1000)
    before = len(list(Path("/proc/self/fd").iterdir()))
    descriptor, _ = artefacts.unpack_sealed(artefacts.pack(bytes(1000)))
    os.close(descriptor)
    with pytest.raises(ArtefactTamperedError, match="more than 1000"):
        artefacts.unpack_sealed(artefacts.pack(bytes(1001)))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_frame_that_does_not_say_its_length_is_refused():
    writer = zstandard.ZstdCompressor().compressobj()
    with pytest.raises(ArtefactTamperedError, match="unknown length"):
        artefacts.unpack_sealed(writer.compress(b"native code") + writer.flush())


@pytest.mark.parametrize("data", [b"", b"not zstd", artefacts.pack(b"native code")[:-1]])
def test_what_is_not_a_whole_frame_is_refused(data: bytes):
    with pytest.raises(ArtefactTamperedError):
        artefacts.unpack_sealed(data)


def test_a_window_that_asks_for_gigabytes_is_refused():
    parameters = zstandard.ZstdCompressionParameters(window_log=31, enable_ldm=True)
    writer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    huge = writer.compress(b"x" * 1000) + writer.flush()
    with pytest.raises(ArtefactTamperedError):
        artefacts.unpack_sealed(huge)
