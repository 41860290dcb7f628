"""Cores: the smaller of what the mask and the container's quota allow."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.cores import usable_cores

MASK = len(os.sched_getaffinity(0))


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
