"""Somebody at a shell who types `alga-ext`, for the system tests: what they run, what they get, what they leave running."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COMMAND_MAX_S = 400  # a build on a busy machine, and npm before it
WAIT_MAX_S = 120


class Author:
    """Somebody at a shell, with a home folder of their own and the stack's `stack.json` named in the environment."""

    def __init__(self, folder: Path, stack_file: Path) -> None:
        self.folder = folder
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "XDG_CONFIG_HOME": str(folder / "config"),
            "PYTHONPATH": str(ROOT),
            "ALGA_STACK": str(stack_file),
            "npm_config_prefer_offline": "true",  # what `make venv` fetched is there already
        }

    @property
    def reference(self) -> str:
        """`publisher.name` of the project here."""
        manifest = json.loads((self.folder / "manifest.json").read_text())
        return f"{manifest['publisher']}.{manifest['name']}"

    def types(self, *words: str, status: int = 0) -> str:
        """Run `alga-ext`; what it prints."""
        done = self._run([sys.executable, "-m", "gateway.cli.main", *words])
        assert done.returncode == status, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def asks(self, *words: str, status: int = 0) -> Any:
        """Run `alga-ext … --json`; the document."""
        return json.loads(self.types(*words, "--json", status=status))

    def runs(self, *words: str) -> str:
        """Run another program of the project."""
        done = self._run(list(words))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def releases(self, version: str, **changes: Any) -> None:
        """The project's manifest changed, packed, signed and published."""
        file = self.folder / "manifest.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "version": version, **changes}))
        for verb in ("pack", "sign", "publish"):
            self.asks(verb)

    @contextlib.contextmanager
    def develops(self, *words: str) -> Iterator[Development]:
        """`alga-ext dev --json` in the project's folder, interrupted at the end."""
        command = [sys.executable, "-m", "gateway.cli.main", "dev", str(self.folder), "--json", *words]
        with subprocess.Popen(
            command, env=self.environment, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            development = Development(process)
            try:
                yield development
            finally:
                development.end()

    def _run(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_MAX_S,
            check=False,
        )


class Development:
    """A running `alga-ext dev`, line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next line of this kind; those before it are passed over."""
        ends_s = time.monotonic() + WAIT_MAX_S
        while (line := self._lines.get(timeout=max(0.01, ends_s - time.monotonic()))) is not None:
            if wanted(line):
                return line
        raise AssertionError("dev ended before that")

    def round(self) -> dict[str, Any]:
        """The next round."""
        return self.next(lambda line: line["event"] == "round")

    def children(self) -> list[int]:
        """The processes it started that still live."""
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in found]

    def end(self) -> int:
        """Ctrl-C; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(WAIT_MAX_S)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)
