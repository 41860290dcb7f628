"""A nameless file: in memory while small, on the disk beyond, refused when neither takes it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.bundles.scratch import Scratch
from shared.errors import CacheFull


def test_what_is_written_is_read_back_from_the_start(tmp_path: Path):
    with Scratch(tmp_path) as scratch:
        scratch.write(b"one ")
        scratch.write(memoryview(b"two"))
        assert scratch.rewound().read() == b"one two"
        assert scratch.size_bytes == 7


@pytest.mark.parametrize(("size", "on_disk"), [(15, False), (16, False), (17, True)])
def test_it_moves_to_the_disk_when_it_outgrows_memory(tmp_path: Path, size: int, on_disk: bool):
    with Scratch(tmp_path, memory_max_bytes=16) as scratch:
        scratch.write(b"x" * 10)
        scratch.write(b"y" * (size - 10))
        assert scratch.rewound().read() == b"x" * 10 + b"y" * (size - 10)
        place = Path(f"/proc/self/fd/{scratch.file.fileno()}").readlink()
        assert (str(tmp_path) in str(place)) is on_disk


def test_on_the_disk_it_has_no_name(tmp_path: Path):
    with Scratch(tmp_path, memory_max_bytes=1) as scratch:
        scratch.write(b"secret")
        assert list(tmp_path.iterdir()) == []


def test_too_large_for_memory_without_a_disk_is_cache_full(tmp_path: Path):
    with Scratch(tmp_path / "missing", memory_max_bytes=4) as scratch:
        scratch.write(b"1234")
        with pytest.raises(CacheFull) as raised:
            scratch.write(b"5")
    assert raised.value.retry_after_s == 10


def test_cleared_it_begins_anew(tmp_path: Path):
    with Scratch(tmp_path, memory_max_bytes=4) as scratch:
        scratch.write(b"123456")
        scratch.clear()
        scratch.write(b"ab")
        assert scratch.rewound().read() == b"ab"


def test_closing_gives_the_descriptor_back(tmp_path: Path):
    scratch = Scratch(tmp_path)
    descriptor = scratch.file.fileno()
    scratch.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
