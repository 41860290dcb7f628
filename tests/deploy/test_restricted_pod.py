"""The sandbox's wall in what a restricted pod is to a process: another uid than root, no capability, no_new_privs, and a
seccomp profile that forbids new namespaces. deploy/README.md promises which layers stand there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

from runner.sandbox.hardening import REQUIRED
from tests.deploy.manifests import ROOT

UID = 65532

PROGRAM = textwrap.dedent(
    """
    import ctypes, json, os, struct, sys

    sys.path.insert(0, sys.argv[1])
    uid, pipe, parent = int(sys.argv[2]), int(sys.argv[3]), os.getppid()
    from runner.sandbox import hardening, seccomp

    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() == 0:
        for capability in range(41):
            libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS

    # RuntimeDefault answers EPERM to unshare, mount and setns of a process without CAP_SYS_ADMIN.
    code = [(0x20, 0, 0, 0)]
    for number in (272, 165, 308):
        code += [(0x15, 0, 1, number), (0x06, 0, 0, 0x50001)]
    code.append((0x06, 0, 0, 0x7FFF0000))
    text = b"".join(struct.pack("<HBBI", *one) for one in code)
    held = ctypes.create_string_buffer(text, len(text))
    program = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(code), ctypes.addressof(held)))
    assert libc.syscall(317, 1, 0, program) == 0, os.strerror(ctypes.get_errno())  # SECCOMP_SET_MODE_FILTER

    os.environ.clear()
    wall = hardening.Wall()
    wall.before_threads(parent)
    wall.after_warm_up()
    os.write(pipe, json.dumps(wall.layers).encode())
    os._exit(0)
    """
)


@pytest.fixture(scope="module")
def layers() -> dict[str, str]:
    """How each layer went."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as told:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(ROOT), str(UID), str(writing)],
            pass_fds=[writing],
            env={},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        os.close(writing)
        text = told.read()
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(text)
    return found


def test_every_required_layer_stands(layers):
    assert {name: layers[name] for name in REQUIRED} == dict.fromkeys(REQUIRED, "on")


@pytest.mark.parametrize("name", ["namespaces", "bounding_set"])
def test_what_cannot_be_had_is_reported_and_not_required(layers, name):
    assert layers[name].startswith("off: ")
    assert name not in REQUIRED


def test_the_operators_page_tells_of_every_layer_that_is_off():
    page = " ".join((ROOT / "deploy/README.md").read_text().split())
    assert "| network, IPC, UTS and mount namespaces | off |" in page
    assert "| bounding set dropped | off |" in page
