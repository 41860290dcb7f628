"""A hostile native process behind the wall: `python -I hostile.py ROOT PARENT ACTION SURROUNDINGS`.

It stands for a guest that has escaped from the engine: it builds the same wall a sandbox builds, then tries one thing
with raw system calls. Exit status 0: it succeeded. 1: the kernel refused. Killed by SIGSYS: the filter. In a `restricted
pod` a container runtime's filter stands in front, which refuses new namespaces; with `no wall` the attempts succeed.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import pathlib
import socket
import sys

ROOT, PARENT, ACTION, SURROUNDINGS = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
sys.path.insert(0, ROOT)

from runner.sandbox import hardening, seccomp  # noqa: E402 - the path comes from the command line

libc = ctypes.CDLL(None, use_errno=True)


def call(number: int, *arguments: object) -> None:
    """One raw system call. Raises `OSError`."""
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    if libc.syscall(ctypes.c_long(number), *words) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def text(value: bytes) -> ctypes.c_char_p:
    """A C string."""
    return ctypes.c_char_p(value)


def executable_memory() -> None:
    """Memory that is writable and executable at once."""
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)


def made_executable() -> None:
    """Memory written first and made executable later, still writable."""
    region = mmap.mmap(-1, 4096)
    address = ctypes.addressof(ctypes.c_char.from_buffer(region))
    call(10, address, 4096, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)


def read_the_parent() -> None:
    """Another process's memory (process_vm_readv)."""
    buffer = ctypes.create_string_buffer(8)
    vector = (ctypes.c_long * 2)(ctypes.addressof(buffer), 8)
    call(310, PARENT, ctypes.byref(vector), 1, ctypes.byref(vector), 1, 0)


ACTIONS = {
    "open a file": lambda: os.close(os.open("/etc/passwd", os.O_RDONLY)),
    "open a file by the old call": lambda: call(2, text(b"/etc/passwd"), 0, 0),
    "open a file by the newest call": lambda: call(437, -100, text(b"/etc/passwd"), 0, 0),
    "create a file": lambda: os.close(os.open("/tmp/x-hostile", os.O_CREAT | os.O_WRONLY)),
    "list a directory": lambda: list(pathlib.Path("/").iterdir()),
    "look at a file": lambda: pathlib.Path("/etc/passwd").stat(),
    "read its parent's environment": lambda: os.open(f"/proc/{PARENT}/environ", os.O_RDONLY),
    "make an internet socket": lambda: socket.socket(socket.AF_INET).close(),
    "make a unix socket": lambda: socket.socket(socket.AF_UNIX).close(),
    "make a socket pair": lambda: socket.socketpair(),
    "run a program": lambda: os.execv("/bin/true", ["true"]),
    "fork": lambda: os.fork(),
    "fork by clone3": lambda: call(435, ctypes.create_string_buffer(88), 88),
    "trace its parent": lambda: call(101, 16, PARENT, 0, 0),
    "read its parent's memory": read_the_parent,
    "signal its parent": lambda: os.kill(PARENT, 0),
    "signal its parent's thread": lambda: call(234, PARENT, PARENT, 0),
    "open a pidfd of its parent": lambda: call(434, PARENT, 0),
    "map writable and executable memory": executable_memory,
    "make written memory executable": made_executable,
    "make a memory file": lambda: call(319, text(b"x"), 0),
    "become root": lambda: os.setuid(0),
    "make a namespace": lambda: call(272, 0x10000000),
    "mount": lambda: call(165, text(b"none"), text(b"/"), text(b"tmpfs"), 0, 0),
    "change its root": lambda: os.chroot("/"),
    "be dumpable again": lambda: call(157, 4, 1, 0, 0, 0),
    "load a filter of its own": lambda: call(317, 1, 0, 0),
    "use io_uring": lambda: call(425, 1, ctypes.create_string_buffer(120)),
    "load a kernel program": lambda: call(321, 0, ctypes.create_string_buffer(120), 120),
    "handle page faults": lambda: call(323, 0),
    "raise its limits": lambda: call(302, 0, 7, 0, 0),
    "use a device": lambda: call(16, 0, 0x5413, 0),
    "send a descriptor": lambda: call(46, 0, 0, 0),
    "use the 32-bit door": lambda: call(0x40000000 + 39),
}
LEGITIMATE = {
    "nothing": lambda: None,
    "tell the time": lambda: call(228, 1, ctypes.create_string_buffer(16)),
    "draw randomness": lambda: os.urandom(16),
    "use memory": lambda: mmap.mmap(-1, 1 << 20).close(),
}


def container_runtime_filter() -> None:
    """What a container runtime's default filter does to a process without capabilities: no new namespaces."""
    original = seccomp.program
    code = [*original()[:4], *seccomp._when(272, seccomp._return(seccomp._ERRNO | 1)), seccomp._return(seccomp._ALLOW)]
    libc.prctl(38, 1, 0, 0, 0)
    seccomp.program = lambda: code
    try:
        seccomp.install()
    finally:
        seccomp.program = original


def main() -> None:
    """Build the wall, report it, try."""
    for descriptor in range(3, 64):
        try:
            os.close(descriptor)
        except OSError:
            continue
    os.environ.clear()
    wall = hardening.Wall()
    if SURROUNDINGS == "restricted pod":
        container_runtime_filter()
    if SURROUNDINGS != "no wall":
        wall.before_threads(PARENT)
        wall.after_warm_up()
    sys.stdout.write(json.dumps(wall.layers))
    sys.stdout.flush()
    try:
        (ACTIONS | LEGITIMATE)[ACTION]()
    except OSError:
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main()
