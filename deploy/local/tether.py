"""Exec wrapper: tie a program's life to its parent's, drop to another user if asked, then become the program.

    python -I -S tether.py PARENT_PID SIGNAL UID:GID|- PROGRAM [ARGUMENT…]

The kernel sends SIGNAL when the parent ends for whatever reason, SIGKILL included (prctl(2), PR_SET_PDEATHSIG),
so no child of a killed stack lives on. A wrapper instead of `preexec_fn`: that one runs Python between fork and
exec, which CPython calls unsafe in a process with threads. The pid stays the same across exec. Standard library
only, and run by path, because a program of another user may not be able to read our packages.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
NOT_STARTED: Final = 70  # sysexits.h, EX_SOFTWARE


def main(arguments: list[str]) -> int:
    """Become the program. Returns only when that failed: the exit status."""
    parent, signal_number, owner, *program = arguments
    if owner != "-":
        uid, gid = (int(part) for part in owner.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # After setuid: a change of credentials clears the setting.
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0) != 0:
            print(f"prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}", file=sys.stderr)
            return NOT_STARTED
    if os.getppid() != int(parent):
        return NOT_STARTED  # the parent ended before the setting was made; nobody would end us
    try:
        os.execv(program[0], program)  # noqa: S606 - becoming the program is the purpose
    except OSError as error:
        print(f"{program[0]}: {error.strerror}", file=sys.stderr)
        return NOT_STARTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
