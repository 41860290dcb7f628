"""The wall around a sandbox process, layer by layer, in the order the kernel demands.

    no_new_privs → namespaces → uid and groups → capabilities → not dumpable → PDEATHSIG → Landlock → [warm-up] →
    rlimits → seccomp (all threads)

no_new_privs, capabilities, namespaces and Landlock are per thread, so they come before the first thread; setuid
clears PDEATHSIG and dumpable, so those come after it; seccomp comes last because building the rest needs calls it
forbids. Every layer is tried and reported; which of them are required is decided by the runner (`REQUIRED`), which
refuses to serve without them in production.

Not used: `RLIMIT_AS` (an instance reserves 4 GiB of address space) and a PID namespace for each sandbox (after its
first child dies every later fork fails).
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
from collections.abc import Callable
from typing import Any, Final

from runner.sandbox import seccomp

NOBODY: Final = 65534  # the uid and gid of a sandbox when the runner itself is root
OPEN_FILES_MAX: Final = 64  # its socket, timer, and one image for each component it maps

REQUIRED: Final = frozenset(
    {"environment", "no_new_privs", "non_root", "not_dumpable", "parent_death", "rlimits", "seccomp", "landlock"}
)

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_LAST_CAPABILITY: Final = 40  # CAP_CHECKPOINT_RESTORE, Linux 5.9; the oldest kernel with Landlock is 5.13
_CAP_AMBIENT_CLEAR_ALL: Final = 4
_CAPABILITY_VERSION_3: Final = 0x20080522
_NR_CAPSET: Final = 126
_NR_LANDLOCK_CREATE: Final = 444
_NR_LANDLOCK_RESTRICT: Final = 446
_CLONE_NEWNS: Final = 0x00020000
_CLONE_NEWUTS: Final = 0x04000000
_CLONE_NEWIPC: Final = 0x08000000
_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000

_libc: Final = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _prctl(*arguments: int) -> None:
    padded = (*arguments, 0, 0, 0, 0)[:5]
    _check(_libc.prctl(*(ctypes.c_ulong(argument) for argument in padded)))


def die_with(parent: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Get a signal when the parent dies; exit at once if it is dead already."""
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os._exit(1)


def leave_no_core(*, readable: bool = False) -> None:
    """Keep this process's memory out of files: no core of it, or of any process it starts (threat T29).

    Args:
        readable: let this user's other processes look into it all the same, as a debugger does. Otherwise only root can,
            and a kernel that pipes cores into a program, which asks for no limit, makes none either.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not readable:
        _prctl(_PR_SET_DUMPABLE, 0)


class Wall:
    """Builds the wall and remembers how each layer went: `on`, or `off: <reason>`."""

    def __init__(self) -> None:
        self.layers: dict[str, str] = {}

    def _layer(self, name: str, build: Callable[..., Any], *arguments: Any) -> None:
        try:
            build(*arguments)
        except OSError as error:
            self.layers[name] = f"off: {error.strerror}"
        else:
            self.layers[name] = "on"

    def before_threads(self, parent: int) -> None:
        """Everything that must precede the first thread of this process."""
        self._layer("environment", _empty_environment)
        self._layer("no_new_privs", _prctl, _PR_SET_NO_NEW_PRIVS, 1)
        self._layer("namespaces", _unshare)
        self._layer("bounding_set", _drop_bounding_set)
        self._layer("non_root", _become_nobody)
        self._layer("capabilities", _drop_capabilities)
        self._layer("not_dumpable", _prctl, _PR_SET_DUMPABLE, 0)
        self._layer("parent_death", die_with, parent)
        self._layer("landlock", _landlock)

    def after_warm_up(self) -> None:
        """What warming up could not live with: limits and the system-call filter, on all threads."""
        self._layer("rlimits", _limits)
        self._layer("seccomp", seccomp.install)


def _empty_environment() -> None:
    if os.environ:
        raise OSError(0, "the environment is not empty")


def _unshare() -> None:
    flags = _CLONE_NEWNET | _CLONE_NEWIPC | _CLONE_NEWUTS | _CLONE_NEWNS
    if os.geteuid() != 0:
        flags |= _CLONE_NEWUSER
    _check(_libc.unshare(flags))


def _become_nobody() -> None:
    if os.geteuid() != 0:
        return
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def _drop_bounding_set() -> None:
    """Needs CAP_SETPCAP, so it precedes setuid; no_new_privs makes it moot for a process that lacks it."""
    for capability in range(_LAST_CAPABILITY + 1):
        _prctl(_PR_CAPBSET_DROP, capability)


def _drop_capabilities() -> None:
    _prctl(_PR_CAP_AMBIENT, _CAP_AMBIENT_CLEAR_ALL)
    header = ctypes.create_string_buffer(struct.pack("<Ii", _CAPABILITY_VERSION_3, 0))
    empty = ctypes.create_string_buffer(24)
    _check(_libc.syscall(ctypes.c_long(_NR_CAPSET), ctypes.byref(header), ctypes.byref(empty)))


def _landlock() -> None:
    """No path may be opened and no TCP port used; sockets and signals stay inside (Landlock ABI 1 to 6)."""
    version = _check(_libc.syscall(ctypes.c_long(_NR_LANDLOCK_CREATE), None, ctypes.c_size_t(0), ctypes.c_uint(1)))
    file_rights = {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)
    words = [(1 << file_rights) - 1]
    if version >= 4:
        words.append(0b11)  # bind, connect
    if version >= 6:
        words.append(0b11)  # abstract sockets, signals
    attributes = ctypes.create_string_buffer(struct.pack(f"<{len(words)}Q", *words), 8 * len(words))
    create = ctypes.c_long(_NR_LANDLOCK_CREATE)
    ruleset = _check(_libc.syscall(create, ctypes.byref(attributes), ctypes.c_size_t(8 * len(words)), ctypes.c_uint(0)))
    try:
        _check(_libc.syscall(ctypes.c_long(_NR_LANDLOCK_RESTRICT), ctypes.c_int(ruleset), ctypes.c_uint(0)))
    finally:
        os.close(ruleset)


def _limits() -> None:
    for name, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES_MAX),
    ):
        resource.setrlimit(name, (value, value))
