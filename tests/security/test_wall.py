"""The wall, tried from inside by a native process: what an escaped guest could do. Threat rows T13, T20, T22, T63.

Three surroundings: as root, as an unprivileged user, and in a simulated restricted pod, where namespaces are refused
and seccomp, Landlock and no_new_privs are the wall.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.sandbox.hardening import NOBODY, REQUIRED

HOSTILE = Path(__file__).with_name("hostile.py")
ROOT = Path(__file__).parents[2]
DEBIAN_PYTHON = "/usr/bin/python3"  # readable for every user, wherever the virtual environment stands


def keys_of(name: str) -> list[str]:
    """The keys of a dictionary in the hostile program, without running it."""
    for node in ast.parse(HOSTILE.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
            assert isinstance(node.value, ast.Dict)
            return [str(ast.literal_eval(key)) for key in node.value.keys if key is not None]
    raise KeyError(name)


SURROUNDINGS = ["root", "unprivileged", "restricted pod"]


@pytest.fixture(scope="session")
def copied() -> Iterator[Path]:
    """The wall's code where any user can read it."""
    with tempfile.TemporaryDirectory(prefix="wall-") as directory:
        root = Path(directory)
        root.chmod(0o755)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "runner" / "sandbox", root / "runner" / "sandbox", ignore=ignored)
        shutil.copy(HOSTILE, root / "hostile.py")
        (root / "runner" / "__init__.py").touch()
        yield root


def attempt(copied: Path, surroundings: str, action: str) -> tuple[int, dict[str, str]]:
    """How the attempt ended, and the wall it met."""
    if os.geteuid() != 0 and surroundings == "root":
        pytest.skip("not root")
    python = DEBIAN_PYTHON if Path(DEBIAN_PYTHON).exists() else sys.executable
    command = [python, "-I", str(copied / "hostile.py"), str(copied), str(os.getpid()), action]
    command.append(surroundings)
    user = NOBODY if os.geteuid() == 0 and surroundings != "root" else None
    groups = [] if user else None
    done = subprocess.run(
        command, env={}, capture_output=True, timeout=30, check=False, user=user, group=user, extra_groups=groups
    )
    assert done.stdout, done.stderr.decode()
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("surroundings", SURROUNDINGS)
@pytest.mark.parametrize("action", keys_of("ACTIONS"))
def test_an_escaped_guest_cannot(copied: Path, surroundings: str, action: str) -> None:
    status, _ = attempt(copied, surroundings, action)
    assert status in (1, -signal.SIGSYS)


@pytest.mark.parametrize(
    "action",
    [
        "open a file",
        "list a directory",
        "look at a file",
        "make an internet socket",
        "make a socket pair",
        "run a program",
        "fork",
        "map writable and executable memory",
        "make a memory file",
        "be dumpable again",
    ],
)
def test_without_the_wall_the_same_attempt_succeeds(copied: Path, action: str) -> None:
    status, layers = attempt(copied, "no wall", action)
    assert (status, layers) == (0, {})


@pytest.mark.parametrize("surroundings", SURROUNDINGS)
@pytest.mark.parametrize("action", keys_of("LEGITIMATE"))
def test_an_honest_guest_still_can(copied: Path, surroundings: str, action: str) -> None:
    status, _ = attempt(copied, surroundings, action)
    assert status == 0


@pytest.mark.parametrize("surroundings", SURROUNDINGS)
def test_every_required_layer_stands_and_the_optional_ones_are_reported(copied: Path, surroundings: str) -> None:
    _, layers = attempt(copied, surroundings, "nothing")
    assert {name for name in REQUIRED if layers.get(name) != "on"} == set()
    if surroundings == "restricted pod":
        assert layers["namespaces"].startswith("off: ")
    if surroundings == "root":
        assert layers["namespaces"] == "on"
