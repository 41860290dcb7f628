"""Databases made ahead: a test takes one that is ready, while a thread copies the next from the template.

Copying takes as long as many a test, and there is a second core.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
from types import TracebackType
from typing import Final, Self

import psycopg

AHEAD: Final = 2
WAIT_MAX_S: Final = 60.0  # 0.2 s on an idle machine


class Spares:
    """Copies of one template, for the length of a `with` block.

    Args:
        url: of the superuser.
        template: what is copied.
    """

    def __init__(self, url: str, template: str) -> None:
        self._url = url
        self._template = template
        self._ready: queue.Queue[str | Exception] = queue.Queue(AHEAD)
        self._used: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._make, name="spare databases", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        while self._thread.is_alive():
            with contextlib.suppress(queue.Empty):
                self._ready.get_nowait()  # it may wait for room
            self._thread.join(0.1)

    def take(self) -> str:
        """The name of a database nobody has used. Raises what making it raised."""
        found = self._ready.get(timeout=WAIT_MAX_S)
        if isinstance(found, Exception):
            raise found
        return found

    def give_back(self, name: str) -> None:
        """A test is done with it; it is removed some time."""
        self._used.put(name)

    def _make(self) -> None:
        try:
            with psycopg.connect(self._url, autocommit=True) as connection:
                for number in itertools.count(1):
                    if self._ending.is_set():
                        return
                    name = f"gateway_test_{number}"
                    connection.execute(f"create database {name} template {self._template}".encode())
                    self._ready.put(name)
                    while not self._used.empty():
                        connection.execute(f"drop database {self._used.get()} with (force)".encode())
        except psycopg.Error as error:
            self._ready.put(error)
