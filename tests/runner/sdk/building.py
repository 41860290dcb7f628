"""Builds the guests of these tests with their real toolchains and runs them in real sandboxes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from runner.sandbox import frames
from runner.sandbox.process import Outcome
from tests.built import component
from tests.runner.sandbox.driving import Driver, Recorded

HERE = Path(__file__).parent
SDK = HERE.parents[2] / "runner" / "sdk"
WIT = HERE.parents[2] / "shared" / "wit"
EXAMPLES = HERE.parents[1] / "examples"
MEMORY_MB = 64
TIMEOUT_MS = 20_000  # the machine may be busy; what is measured here is not time
GRANTS = tuple(
    f"cap:{name}"
    for name in (
        *("config.read", "context.read", "events.publish", "http.fetch", "log.emit", "metrics.emit"),
        *("scheduler.manage", "secrets.get", "storage.kv", "ui.proxy", "user.read"),
    )
)

SCHEDULE = ("id", "/x", "POST", None, "* * * * *", "UTC", True, None, None, "ok", None, "2030-01-01T00:00:00Z")
ENDPOINT = ("e", "POST", "/x", "handler", True)


def built(folder: Path, engine: str, source: str) -> Path:
    """The component of a guest from `guests/`."""
    project = folder / engine
    sources = project / "src" if engine != "python" else project
    sources.mkdir(parents=True)
    shutil.copyfile(HERE / "guests" / source, sources / source)
    (project / "manifest.json").write_text("{}")
    if engine != "python":
        (project / "package.json").write_text(json.dumps({"alga": {"engine": engine, "runtime": True}}))
        (project / "node_modules").symlink_to(EXAMPLES / "node_modules")
    target = folder / f"{engine}.wasm"
    target.write_bytes(component(f"runtimes-{engine}", project, WIT))
    return target


def host_answer(interface: str, function: str, arguments: Sequence[Any]) -> Any:
    """What the host of these tests says, as the sandbox's protocol has it: results are pairs of success and value."""
    answers: dict[tuple[str, str], Callable[[], Any]] = {
        ("secrets", "get"): lambda: (False, "expired"),
        ("secrets", "list-keys"): lambda: ["a", "b"],
        ("http", "fetch"): lambda: _echoed(*arguments[0]),
        ("storage", "get"): lambda: (False, "missing"),
        ("storage", "put"): lambda: (True, (*arguments[0][:3], 8)),
        ("storage", "delete"): lambda: (True, None),
        ("storage", "list-entries"): lambda: (
            True,
            [(arguments[0], "k", b"", 2**53 - 1), (arguments[0], "l", b"", None)],
        ),
        ("ui-proxy", "call-route"): lambda: (True, arguments[1] + b"!"),
        ("events", "publish"): lambda: (False, "the topic must start with the extension's name"),
        ("metrics", "counter"): lambda: None,
        ("scheduler", "list-schedules"): lambda: (True, [SCHEDULE]),
        ("scheduler", "get-schedule"): lambda: (True, None),
        ("scheduler", "create-schedule"): lambda: (True, "new", None, None),
        ("scheduler", "update-schedule"): lambda: (False, "not found", None),
        ("scheduler", "delete-schedule"): lambda: (True, None),
        ("scheduler", "get-endpoints"): lambda: (True, [ENDPOINT]),
    }
    return answers[interface, function]()


def _echoed(method: str, url: str, headers: list[Any], body: bytes | None) -> Any:
    told = {"sent": [method, url, [list(header) for header in headers], (body or b"").decode()]}
    return True, (404, [("Content-Type", "application/json")], json.dumps(told).encode())


class Answering(Recorded):
    """Takes log lines and answers as `host_answer` does."""

    async def answer(self, interface: str, function: str, arguments: Sequence[Any]) -> Any:
        self.asked.append((interface, function, arguments))
        return host_answer(interface, function, arguments)


class Guest:
    """One guest, ready to be called."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def outcome(self, url: str, body: bytes | None = None) -> tuple[Outcome, Answering]:
        """How a call ended, and what was said meanwhile."""
        calls = Answering()
        outcome = await self._driver.call(
            url, body=body, memory_mb=MEMORY_MB, timeout_ms=TIMEOUT_MS, grants=GRANTS, calls=calls
        )
        return outcome, calls

    async def answer(self, url: str, body: bytes | None = None) -> tuple[frames.Done, Answering]:
        """The answer to a call that must have one."""
        outcome, calls = await self.outcome(url, body)
        assert isinstance(outcome.result, frames.Done), (outcome, calls.lines)
        return outcome.result, calls

    async def json(self, url: str, value: object = None) -> Any:
        """The JSON of an answer of success."""
        done, calls = await self.answer(url, None if value is None else json.dumps(value).encode())
        assert done.status == 200, (done, calls.lines)
        return json.loads(done.body or b"")
