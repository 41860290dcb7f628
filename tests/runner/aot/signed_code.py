"""What a compiler leaves in the store, with code that is no code: good pairs, and pairs that must not be loaded."""

from __future__ import annotations

import os

from runner.aot import artefacts
from runner.aot.artefacts import Expected
from runner.aot.loader import Artefact
from shared.keys import PrivateKey
from tests.runner.published import Published

AOT = PrivateKey.generate()
ENGINE, CPU = "wasmtime-test", "x86_64-unknown-linux-gnu"
CODE = b"native code " * 1000
OTHER = "cd" * 32  # another component


def pair(bundle: Published, code: bytes = CODE, key: PrivateKey = AOT, **said: str) -> dict[str, bytes]:
    """The two objects under this bundle's component; `said` changes what the signature is for."""
    component = bundle.statement.component_sha256
    assert component is not None
    stored = artefacts.pack(code)
    expected = Expected(**{"component_sha256": component, "engine_id": ENGINE, "cpu_target": CPU, **said})
    return {
        artefacts.object_key(ENGINE, component): stored,
        artefacts.signature_key(ENGINE, component): artefacts.sign(key, expected, stored),
    }


def taken(artefact: Artefact) -> tuple[bytes, str]:
    """The code and where it came from; gives the descriptor back."""
    try:
        code = os.pread(artefact.memfd, artefact.size_bytes + 1, 0)
    finally:
        os.close(artefact.memfd)
    return code, artefact.source


def _flipped(bundle: Published, suffix: str = ".zst") -> dict[str, bytes]:
    good = pair(bundle)
    name = next(name for name in good if name.endswith(suffix))
    data = bytearray(good[name])
    data[len(data) // 2] ^= 1
    return good | {name: bytes(data)}


def _truncated(bundle: Published) -> dict[str, bytes]:
    return {name: data if name.endswith(".sig") else data[:-1] for name, data in pair(bundle).items()}


def _unsigned(bundle: Published) -> dict[str, bytes]:
    return {name: b"{}" if name.endswith(".sig") else data for name, data in pair(bundle).items()}


def _without_code(bundle: Published) -> dict[str, bytes]:
    """Well signed, by a compiler whose key is in wrong hands, and nothing a decompressor should meet."""
    component = bundle.statement.component_sha256 or ""
    expected = Expected(component_sha256=component, engine_id=ENGINE, cpu_target=CPU)
    return {
        name: artefacts.sign(AOT, expected, b"not zstd") if name.endswith(".sig") else b"not zstd"
        for name in pair(bundle)
    }


SPOILED = {
    "a flipped bit": _flipped,
    "a flipped bit of the signature": lambda bundle: _flipped(bundle, ".sig"),
    "cut short": _truncated,
    "no signature": _unsigned,
    "another component's, well signed": lambda bundle: pair(bundle, b"another guest", component_sha256=OTHER),
    "another key": lambda bundle: pair(bundle, b"evil", PrivateKey.generate()),
    "another engine": lambda bundle: pair(bundle, b"old", engine_id="wasmtime-old"),
    "another cpu target": lambda bundle: pair(bundle, b"arm", cpu_target="aarch64-unknown-linux-gnu"),
    "not native code": _without_code,
}
