"""The zygote: an exec'd process with an empty environment that maps native code and forks sandboxes.

    python -I zygote.py <control descriptor> <fuel 0|1> <project root>     with the offer as standard input

Exec'd, never forked from a runner worker: a fork would copy keys and listening sockets into every sandbox. It runs no
guest, makes no store with WASI (its children would share one random seed) and starts no thread (a fork copies only
the calling one). It dies with its worker, and its sandboxes die with it.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Final

if __name__ == "__main__":  # -I leaves the project out of the path
    sys.path.insert(0, sys.argv[3])

from wasmtime.component import Component

from runner.sandbox import control, memory
from runner.sandbox.engine import EngineOptions, engine_id, make_pooling_engine
from runner.sandbox.guest import LoadedComponent, load_component
from runner.sandbox.hardening import die_with
from runner.sandbox.offer import Offer, read
from runner.sandbox.worker import Inherited, serve

SELF_TEST: Final = Path(__file__).with_name("selftest.wat")


class Zygote:
    """The control loop."""

    def __init__(self, connection: socket.socket, options: EngineOptions, offer: Offer) -> None:
        self._connection = connection
        before = memory.reserved_regions()
        engine = make_pooling_engine(options)
        pool = memory.reserved_regions() - before
        component = Component(engine, SELF_TEST.read_bytes())
        handler = component.get_export_index("handler")
        if handler is None:
            raise RuntimeError("the self-test component exports no handler")
        self._inherited = Inherited(engine, offer, LoadedComponent(component, handler), pool)
        self._engine_id = engine_id(options)
        # SIGCHLD only has to wake `select`; the byte it writes carries no information.
        self._wake, wake_end = socket.socketpair()
        self._wake.setblocking(False)
        wake_end.setblocking(False)
        self._wake_end = wake_end
        signal.set_wakeup_fd(wake_end.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self) -> None:
        """Serve until the worker closes the control socket."""
        gc.collect()
        gc.freeze()  # children then share these pages instead of copying them on their first collection
        self._send(control.Started(self._engine_id))
        while True:
            ready, _, _ = select.select([self._connection, self._wake], [], [])
            if self._wake in ready:
                self._wake.recv(4096)
                self._reap()
            if self._connection in ready:
                self._serve_one()

    def _send(self, message: control.FromZygote, *descriptors: int) -> None:
        try:
            socket.send_fds(self._connection, [control.encode(message)], list(descriptors))
        except OSError:
            os._exit(0)

    def _reap(self) -> None:
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._send(control.Died(pid, status, int((used.ru_utime + used.ru_stime) * 1e6)))

    def _serve_one(self) -> None:
        data, descriptors, _, _ = socket.recv_fds(self._connection, control.MESSAGE_MAX_BYTES, 1)
        if not data:
            os._exit(0)
        try:
            message = control.decode_to_zygote(data)
            match message:
                case control.Load(component=name):
                    self._inherited.components[name] = load_component(
                        self._inherited.engine, f"/proc/self/fd/{descriptors[0]}"
                    )
                    self._send(control.Loaded(name))
                case control.Unload(component=name):
                    self._inherited.components.pop(name, None)
                    self._send(control.Loaded(name))
                case control.Fork():
                    self._fork(descriptors[0])
        except Exception as error:  # noqa: BLE001 - the worker decides; the zygote must go on serving
            self._send(control.Refused(f"{type(error).__name__}: {error}"[:1000]))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _fork(self, descriptor: int) -> None:
        zygote = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_sandbox(descriptor, zygote)
        pidfd = os.pidfd_open(pid)
        try:
            self._send(control.Forked(pid), pidfd)
        finally:
            os.close(pidfd)

    def _become_sandbox(self, descriptor: int, zygote: int) -> None:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._connection.close()
            self._wake.close()
            self._wake_end.close()
            connection = socket.socket(fileno=os.dup(descriptor))
            os.close(descriptor)
            _silence()
            serve(self._inherited, connection, zygote)
        finally:
            os._exit(code)


def _silence() -> None:
    """The runner's standard streams stay with the runner; libraries that insist on 0, 1 and 2 find nothing there."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    os.close(nowhere)


def _close_all_but(kept: int) -> None:
    """Whatever leaked through exec ends here: event loops differ in what they close in a child."""
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))


def main() -> None:
    """Entry point of the exec'd process."""
    descriptor, fuel = int(sys.argv[1]), sys.argv[2] == "1"
    die_with(os.getppid())
    _close_all_but(descriptor)
    os.environ.clear()  # the interpreter itself may have put a locale in (PEP 538)
    memory.keep_large_blocks()
    offer = read(sys.stdin.buffer.read())
    Zygote(socket.socket(fileno=descriptor), EngineOptions(fuel=fuel), offer).run()


if __name__ == "__main__":
    main()
