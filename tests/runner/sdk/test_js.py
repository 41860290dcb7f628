"""The JavaScript runtime's own tests, run by Node.js: every file of them, and every source once for its syntax."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gateway.cli.toolchains import find_node

TESTS = sorted((Path(__file__).parent / "js").glob("*.test.mjs"))
SOURCES = sorted((Path(__file__).parents[3] / "runner" / "sdk" / "js" / "src").glob("*.js"))


def node(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([find_node(), *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_every_test_of_the_file_passes(path: Path) -> None:
    ran = node("--test", path)
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_every_source_is_a_module_that_parses(path: Path) -> None:
    checked = node("--check", path)
    assert checked.returncode == 0, checked.stderr


def test_there_is_something_to_run() -> None:
    assert len(TESTS) >= 8
    assert {path.name for path in SOURCES} >= {"index.js", "bindings.js", "prelude.js"}
