"""Cores and memory: the smaller of what the machine has and the container may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.usable import usable_cores, usable_memory_bytes

MASK = len(os.sched_getaffinity(0))
MACHINE_BYTES = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("max 100000", MASK),
        ("100000 100000", 1),
        ("150000 100000", min(2, MASK)),
        ("10000 100000", 1),
        ("99900000 100000", MASK),
        ("nonsense", MASK),
        ("", MASK),
    ],
)
def test_the_quota_bounds_what_the_mask_shows(tmp_path: Path, text: str, cores: int) -> None:
    path = tmp_path / "cpu.max"
    path.write_text(text)
    assert usable_cores(path) == cores


def test_without_a_quota_the_mask_decides(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "missing") == MASK


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("max\n", MACHINE_BYTES), ("1048576\n", 1048576), (str(2**62), MACHINE_BYTES), ("nonsense", MACHINE_BYTES)],
)
def test_the_containers_limit_bounds_what_the_machine_has(tmp_path: Path, text: str, size_bytes: int) -> None:
    path = tmp_path / "memory.max"
    path.write_text(text)
    assert usable_memory_bytes(path) == size_bytes


def test_without_a_limit_there_is_as_much_as_the_machine_has(tmp_path: Path) -> None:
    assert usable_memory_bytes(tmp_path / "missing") == MACHINE_BYTES
