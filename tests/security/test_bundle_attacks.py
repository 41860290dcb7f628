"""Archives that attack whoever opens them, as the compiler role and a runner would. Rows T30, T31.

What is refused is refused with the member's name and leaves nothing behind; what is a bomb costs neither memory nor
time, measured in a process of its own.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from shared.bundle_reader import read_bundle
from shared.errors import BundleInvalid, BundleLimits
from shared.limits import MIB
from tests.shared.tar_parts import END, bundle, header, member, packed, padded, pax, record

GOOD = member(b"manifest.json", b"{}")
ROOT = Path(__file__).resolve().parents[2]
GROWTH_MAX_BYTES = 64 * MIB
TIME_MAX_S = 5.0

# ---- T30 ------------------------------------------------------------------------------------------------------

_SPARSE = pax(record(b"GNU.sparse.major", b"1"), record(b"GNU.sparse.minor", b"0"))
HOSTILE: dict[str, tuple[bytes, str]] = {
    "a path upwards": (member(b"../../etc/cron.d/x"), "../../etc/cron.d/x"),
    "a path upwards in the middle": (member(b"ui/../../x"), "ui/../../x"),
    "a path upwards in a pax header": (pax(record(b"path", b"../x")) + member(b"ui/a"), "../x"),
    "a path upwards out of prefix and name": (member(b"x", prefix=b"ui/.."), "ui/../x"),
    "an absolute path": (member(b"/etc/cron.d/x"), "/etc/cron.d/x"),
    "an absolute path in a pax header": (pax(record(b"path", b"/etc/x")) + member(b"ui/a"), "/etc/x"),
    "a path of another system": (member(b"ui\\..\\x"), "ui\\..\\x"),
    "a NUL in a pax path": (pax(record(b"path", b"ui/a\0.html")) + member(b"ui/a"), "ui/a\0.html"),
    "a hard link": (header(b"ui/link", 0, b"1"), "ui/link"),
    "a symbolic link": (header(b"ui/link", 0, b"2"), "ui/link"),
    "a symbolic link by pax": (pax(record(b"linkpath", b"/etc/passwd")) + header(b"ui/link", 0, b"2"), ""),
    "a character device": (header(b"ui/dev", 0, b"3"), "ui/dev"),
    "a block device": (header(b"ui/dev", 0, b"4"), "ui/dev"),
    "a directory": (header(b"ui/dir/", 0, b"5"), "ui/dir/"),
    "a fifo": (header(b"ui/fifo", 0, b"6"), "ui/fifo"),
    "a contiguous file": (header(b"ui/odd", 0, b"7"), "ui/odd"),
    "an old GNU sparse file": (header(b"ui/sparse", 0, b"S"), "ui/sparse"),
    "a pax sparse file": (_SPARSE + member(b"ui/sparse"), ""),
    "a GNU long name": (header(b"././@LongLink", 512, b"L") + padded(b"../x"), "././@LongLink"),
    "a global pax header": (header(b"g", 0, b"g"), "g"),
    "a volume label": (header(b"label", 0, b"V"), "label"),
    "a larger size in pax": (pax(record(b"size", b"2")) + member(b"ui/a", b"x"), "ui/a"),
    "a smaller size in pax": (pax(record(b"size", b"0")) + member(b"ui/a", b"x"), "ui/a"),
    "a size with a sign in pax": (pax(record(b"size", b"+1")) + member(b"ui/a", b"x"), "ui/a"),
    "a size with a leading zero in pax": (pax(record(b"size", b"01")) + member(b"ui/a", b"x"), "ui/a"),
    "a name twice": (member(b"ui/a") + member(b"ui/a"), "ui/a"),
    "a twin by case": (member(b"ui/a") + member(b"ui/A"), "ui/A"),
    "a twin by normalisation": (
        pax(record(b"path", "ui/é".encode()))
        + member(b"ui/a")
        + pax(record(b"path", "ui/e\u0301".encode()))
        + member(),
        "ui/e\u0301",
    ),
    "a twin by case folding": (
        pax(record(b"path", "ui/straße".encode())) + member() + member(b"ui/STRASSE"),
        "ui/STRASSE",
    ),
    "a file that is a directory": (member(b"ui/a") + member(b"ui/a/b"), "ui/a/b"),
    "a second manifest": (member(b"MANIFEST.JSON", b"{}"), "MANIFEST.JSON"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_t30_a_hostile_member_is_refused_by_its_name_and_nothing_is_written(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hostile, name = HOSTILE[what]
    for wanted in (True, False):
        with pytest.raises(BundleInvalid) as caught:
            list(read_bundle(io.BytesIO(bundle(GOOD, hostile)), lambda _name, wanted=wanted: wanted))
        assert caught.value.code == "bundle_invalid"
        assert caught.value.extra["path"] == (name or "manifest.json")  # of a header without a name: the last member
    assert list(tmp_path.iterdir()) == []
    assert not Path("/etc/cron.d/x").exists()


def test_t30_what_is_not_hostile_is_read() -> None:
    members = bundle(GOOD, pax(record(b"path", "ui/é".encode()), record(b"size", b"1")) + member(b"ui/a", b"x"))
    assert [one.name for one in read_bundle(io.BytesIO(members))] == ["manifest.json", "ui/é"]


# ---- T31 ------------------------------------------------------------------------------------------------------

_MEASURED = """
import json, sys, time
from collections import deque
from shared.bundle_reader import read_bundle
from shared.errors import BundleInvalid, BundleLimits

def memory(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name))

before, began = memory("VmRSS"), time.monotonic()
with open(sys.argv[1], "rb") as archive:
    try:
        deque(read_bundle(archive, lambda name: name == "manifest.json"), maxlen=0)
        code = "read"
    except (BundleInvalid, BundleLimits) as error:
        code = error.code
print(json.dumps([code, memory("VmHWM") - before, time.monotonic() - began]))
"""


def _blocks(size: int) -> Iterator[bytes]:
    """`size` zero bytes as run-length blocks of a zstd frame (RFC 8878 §3.1.1.2.2)."""
    while size:
        part = min(size, 128 * 1024)
        yield (part << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
        size -= part


def _raw(data: bytes, last: bool = False) -> bytes:
    return (len(data) << 3 | last).to_bytes(3, "little") + data


def _frame(*blocks: bytes) -> bytes:
    return bytes.fromhex("28b52ffd0038") + b"".join(blocks) + _raw(b"", last=True)


def _ten_gigabytes() -> bytes:
    """170 members of 60 MiB, each block a run of zeros."""
    each = 60 * MIB
    return _frame(*(_raw(header(b"ui/%d" % number, each)) + b"".join(_blocks(each)) for number in range(170)))


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "10 GiB in a megabyte": (_ten_gigabytes, "bundle_limits"),
    "10 GiB, announced": (
        lambda: bytes.fromhex("28b52ffdc038") + (10 << 30).to_bytes(8, "little") + b"".join(_blocks(10 << 30)),
        "bundle_limits",
    ),
    "a window of 2 GiB": (lambda: bytes.fromhex("28b52ffd00a8") + b"\x01\0\0", "bundle_limits"),
    "a manifest of 64 MiB": (
        lambda: _frame(_raw(header(b"manifest.json", 64 * MIB)), *_blocks(64 * MIB), *_blocks(1024)),
        "bundle_limits",
    ),
    "a file that claims 8 GiB": (lambda: packed(header(b"ui/a", (8 << 30) - 1), END), "bundle_limits"),
    "60 MiB of nothing": (
        lambda: _frame(_raw(header(b"ui/a", 60 * MIB)), *_blocks(60 * MIB), *_blocks(1024)),
        "bundle_limits",
    ),
    "200,000 empty blocks": (lambda: _frame(_raw(b"") * 200_000), "bundle_limits"),
    "20,000 files": (
        lambda: packed(*(member(b"ui/%d" % number, b"") for number in range(20_000)), END, level=1),
        "bundle_limits",
    ),
    "a pax header of a gigabyte": (lambda: packed(header(b"x", 1 << 30, b"x"), END), "bundle_limits"),
    # Exactly one frame is a bundle, so what stands behind the first one is not even counted.
    "100,000 frames": (lambda: bundle(GOOD) + zstandard.ZstdCompressor().compress(b"x") * 100_000, "bundle_invalid"),
}


@pytest.mark.parametrize("what", BOMBS)
def test_t31_a_bomb_costs_neither_memory_nor_time(what: str, tmp_path: Path) -> None:
    made, code = BOMBS[what]
    archive = tmp_path / "bomb"
    archive.write_bytes(made())
    assert archive.stat().st_size < 2 * MIB
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, str(archive)], cwd=ROOT, check=True, capture_output=True, timeout=60
    )
    found, growth_bytes, seconds = json.loads(done.stdout)
    assert found == code
    assert growth_bytes < GROWTH_MAX_BYTES
    assert seconds < TIME_MAX_S


def test_t31_the_platforms_limits_are_those_of_a_bundle_of_the_largest_size() -> None:
    with pytest.raises(BundleLimits, match="compressed"):
        list(read_bundle(_Endless()))


class _Endless(io.RawIOBase):
    """A source that never ends: incompressible blocks, for as long as somebody reads."""

    def __init__(self) -> None:
        self._pending = bytearray(bytes.fromhex("28b52ffd0038") + _raw(header(b"dist/main.wasm", 128 * MIB)))
        self._files = 0
        self._left = 128 * MIB

    def read(self, size: int = -1) -> bytes:
        while len(self._pending) < size:
            if self._left == 0:
                self._files += 1
                self._left = 32 * MIB
                self._pending += _raw(header(b"ui/%d" % self._files, self._left))
            self._pending += _raw(b"\x55" * (128 * 1024))
            self._left -= 128 * 1024
        found = bytes(self._pending[:size])
        del self._pending[:size]
        return found
