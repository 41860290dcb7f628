"""A process that holds secrets leaves no core file, whatever the machine does with cores (threat T29)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import ctypes, json, os, resource, subprocess, sys
from runner.sandbox.hardening import leave_no_core
resource.setrlimit(resource.RLIMIT_CORE, (4096, resource.getrlimit(resource.RLIMIT_CORE)[1]))
leave_no_core(**json.loads(sys.argv[1]))
child = [sys.executable, "-c", "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"]
print(json.dumps({
    "limit": resource.getrlimit(resource.RLIMIT_CORE),
    "dumpable": ctypes.CDLL(None).prctl(3, 0, 0, 0, 0),  # PR_GET_DUMPABLE
    "child": subprocess.run(child, capture_output=True, text=True, check=True).stdout.strip(),
}))
sys.stdout.flush()
if sys.argv[2:] == ["die"]:
    os.abort()
"""


def told(cwd: Path, *words: str) -> tuple[int, dict[str, object]]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize(("readable", "dumpable"), [(False, 0), (True, 1)])
def test_no_core_may_be_written_and_nobody_else_may_look_unless_it_is_meant(
    tmp_path: Path, readable: bool, dumpable: int
) -> None:
    status, found = told(tmp_path, json.dumps({"readable": readable}))
    assert status == 0
    assert found == {"limit": [0, 0], "dumpable": dumpable, "child": "(0, 0)"}


def test_a_crash_leaves_nothing_behind(tmp_path: Path) -> None:
    status, _ = told(tmp_path, "{}", "die")
    assert status == -6
    assert list(tmp_path.iterdir()) == []
