"""The zygote inherits nothing: neither environment nor descriptors, whatever its starter leaks."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import runner.sandbox
from runner.sandbox import control

PROGRAM = Path(runner.sandbox.__file__).with_name("zygote.py")
ROOT = Path(runner.sandbox.__file__).parents[2]


def test_a_descriptor_leaked_through_exec_is_closed_before_anything_else() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener = socket.create_server(("127.0.0.1", 0))
    with ours, listener:
        leaked = [theirs.fileno(), listener.fileno()]
        command = [sys.executable, "-I", str(PROGRAM), str(theirs.fileno()), "0", str(ROOT)]
        process = subprocess.Popen(command, pass_fds=leaked, env={}, stdin=subprocess.DEVNULL)
        theirs.close()
        started = control.decode_from_zygote(ours.recv(control.MESSAGE_MAX_BYTES))
        assert isinstance(started, control.Started)
        inode = os.fstat(listener.fileno()).st_ino
        held = [str(entry.readlink()) for entry in Path(f"/proc/{process.pid}/fd").iterdir()]
        assert f"socket:[{inode}]" not in held
        assert sum(name.startswith("socket:") for name in held) == 3  # control, and the pair that wakes it
    assert process.wait(10) == 0


def test_a_message_that_makes_no_sense_is_refused_and_the_zygote_goes_on() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        command = [sys.executable, "-I", str(PROGRAM), str(theirs.fileno()), "0", str(ROOT)]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env={}, stdin=subprocess.DEVNULL)
        theirs.close()
        ours.recv(control.MESSAGE_MAX_BYTES)
        for message in (b"\xc1", control.encode(control.Load("a")), control.encode(control.Fork())):
            ours.send(message)
            assert isinstance(control.decode_from_zygote(ours.recv(control.MESSAGE_MAX_BYTES)), control.Refused)
        ours.send(control.encode(control.Unload("a")))
        assert control.decode_from_zygote(ours.recv(control.MESSAGE_MAX_BYTES)) == control.Loaded("a")
    assert process.wait(10) == 0
