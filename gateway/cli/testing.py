"""An extension's tests: the author's own, against a host in memory, and the real component in a real sandbox.

The second kind is a list of requests in `tests/sandbox.json`; without the file every endpoint that can be called without
knowing anything (GET, no parameters in its path) is called once and has to answer below 500. The sandbox is the runner's,
as a program of its own: this room does not import it.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.cli.failures import CliError
from gateway.cli.npm import npm_command
from gateway.cli.project import Project
from gateway.cli.toolchains import PYTHON_RUNTIME, BuildError, Engine, find_guest
from shared.limits import BUILD_OUTPUT_TAIL_BYTES

CASES: Final = Path("tests") / "sandbox.json"
OWN_MAX_S: Final = 600  # an author's own tests; longer is a hang
SANDBOX_MAX_S: Final = 300  # compiling takes 10 s, each request at most 30 s
_ROOT: Final = Path(__file__).resolve().parents[2]  # where `runner` is imported from


class Expected(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a request should be answered; what is left out may be anything, but never 500 and above by itself."""

    status: int | None = None
    json: Any = msgspec.UNSET
    body: str | None = None
    headers: dict[str, str] = {}


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request of `tests/sandbox.json`.

    Attributes:
        path: with a query if it takes one.
        body: text, sent as it is; or
        json: a value, sent as JSON.
        grants: capabilities; by default all that the manifest asks for.
    """

    name: str = ""
    method: str = "GET"
    path: str
    headers: dict[str, str] = {}
    body: str | None = None
    json: Any = msgspec.UNSET
    grants: tuple[str, ...] | None = None
    config: dict[str, str] = {}
    expect: Expected = Expected()

    @property
    def title(self) -> str:
        """For people."""
        return self.name or f"{self.method} {self.path}"


class Failure(msgspec.Struct, frozen=True):
    """Why a guest did not answer."""

    code: str
    detail: str


class Said(msgspec.Struct, frozen=True):
    """One line of its debug stream."""

    level: str
    stream: str
    message: str


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """What `runner.harness` says of one request, as far as it is needed here."""

    status: int = 0
    headers: dict[str, str] = {}
    body_b64: str | None = None
    logs: tuple[Said, ...] = ()
    usage: dict[str, Any] = {}
    wall: dict[str, str] = {}
    compile_ms: float = 0.0
    error: Failure | None = None

    @property
    def body(self) -> bytes:
        """The answer's bytes."""
        return base64.b64decode(self.body_b64 or "")


class Own(msgspec.Struct, frozen=True, kw_only=True):
    """How the author's own tests went; `output` is the end of what they wrote, empty when it was shown at once."""

    command: tuple[str, ...]
    ok: bool
    exit_status: int
    duration_s: float
    output: str = ""


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """How one request went; `problems` is empty when it was answered as expected."""

    name: str
    ok: bool
    problems: tuple[str, ...] = ()
    status: int
    duration_ms: float
    logs: tuple[Said, ...] = ()


# ---- the author's own ---------------------------------------------------------------------------------------


def own_command(project: Project) -> list[str]:
    """How the project's own tests are run; nothing when it has none.

    Python: `unittest`. JavaScript: the script `test` of package.json, by npm.

    Raises:
        BuildError, CliError: the project's files contradict each other, or there is no npm.
    """
    if not (project.folder / "tests").is_dir():
        return []
    try:
        engine = find_guest(project.folder).engine
    except BuildError:
        return []
    if engine is Engine.PYTHON:
        return [sys.executable, "-m", "unittest"]
    return [*npm_command(), "test", "--silent"]


def run_own(project: Project, command: list[str], *, quiet: bool) -> Own:
    """Run the author's own tests.

    Args:
        project: where they are.
        command: from `own_command`.
        quiet: keep what they write; otherwise it goes to standard error as it comes.

    Raises:
        CliError: they did not come to an end.
    """
    began = time.monotonic()
    vendor = project.folder / "vendor"
    searched = [str(vendor if vendor.is_dir() else PYTHON_RUNTIME), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, searched)), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(  # noqa: S603 - the author's own tests, on the author's machine
            command,
            cwd=project.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if quiet else sys.stderr,
            stderr=subprocess.STDOUT if quiet else None,
            timeout=OWN_MAX_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CliError(
            f"the tests were not done after {OWN_MAX_S} s",
            next_step=f"run them by themselves: {' '.join(command)}",
            code="cli_tests_failed",
        ) from error
    tail = (done.stdout or b"")[-BUILD_OUTPUT_TAIL_BYTES:].decode("utf-8", "replace")
    return Own(
        command=tuple(command),
        ok=done.returncode == 0,
        exit_status=done.returncode,
        duration_s=round(time.monotonic() - began, 2),
        output=tail,
    )


# ---- the real component -------------------------------------------------------------------------------------


def cases(project: Project) -> list[Case]:
    """What to ask the component. Raises `CliError` for a file that is no list of cases."""
    path = project.folder / CASES
    if path.is_file():
        try:
            return msgspec.json.decode(path.read_bytes(), type=list[Case])
        except msgspec.MsgspecError as error:
            raise CliError(
                f"{CASES} is no list of requests: {error}",
                next_step='write [{"path": "/hello", "expect": {"status": 200}}]',
                code="cli_tests_invalid",
            ) from error
    found = (one for one in project.manifest.api.endpoints if one.method in ("GET", "HEAD") and ":" not in one.path)
    return [Case(method=one.method, path=one.path) for one in found]


def run_cases(project: Project, wanted: list[Case]) -> list[Answered]:
    """Ask the component, in a sandbox of its own.

    Raises:
        CliError: the sandbox did not come to an end, or not to an answer for each.
    """
    lines = b"".join(msgspec.json.encode(_request(project, case)) + b"\n" for case in wanted)
    command = [sys.executable, "-m", "runner.harness", str(project.component.resolve())]
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            command, cwd=_ROOT, input=lines, capture_output=True, timeout=SANDBOX_MAX_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _no_sandbox(f"it was not done after {SANDBOX_MAX_S} s", "") from error
    try:
        answered = [msgspec.json.decode(line, type=Answered) for line in done.stdout.splitlines()]
    except msgspec.MsgspecError as error:
        raise _no_sandbox(str(error), done.stderr.decode("utf-8", "replace")) from error
    if len(answered) == 1 and len(wanted) > 1 and answered[0].error is not None:
        raise _no_sandbox(f"{answered[0].error.code}: {answered[0].error.detail}", "")
    if len(answered) != len(wanted):
        raise _no_sandbox(f"it ended with status {done.returncode}", done.stderr.decode("utf-8", "replace"))
    return answered


def judge(case: Case, answered: Answered) -> Tried:
    """Whether a request was answered as its author expects."""
    return Tried(
        name=case.title,
        ok=not (problems := tuple(_problems(case.expect, answered))),
        problems=problems,
        status=answered.status,
        duration_ms=float(answered.usage.get("duration_ms", 0.0)),
        logs=answered.logs,
    )


def _problems(expected: Expected, answered: Answered) -> list[str]:
    if answered.error is not None:
        return [f"{answered.error.code}: {answered.error.detail}"]
    found: list[str] = []
    if expected.status is None and answered.status >= 500:
        found.append(f"status {answered.status}; a status below 500 was expected")
    if expected.status is not None and expected.status != answered.status:
        found.append(f"status {answered.status}; {expected.status} was expected")
    text = answered.body.decode("utf-8", "backslashreplace")
    if expected.body is not None and expected.body != text:
        found.append(f"body {text!r}; {expected.body!r} was expected")
    if expected.json is not msgspec.UNSET and _json(answered.body) != expected.json:
        found.append(f"body {text}; {msgspec.json.encode(expected.json).decode()} was expected")
    for name, value in expected.headers.items():
        if answered.headers.get(name.lower()) != value:
            found.append(f"header {name} is {answered.headers.get(name.lower())!r}; {value!r} was expected")
    return found


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return msgspec.UNSET


def _request(project: Project, case: Case) -> dict[str, Any]:
    headers, body = dict(case.headers), (case.body or "").encode() if case.body is not None else None
    if case.json is not msgspec.UNSET:
        headers, body = {"content-type": "application/json", **headers}, msgspec.json.encode(case.json)
    limits = project.manifest.limits
    wanted: dict[str, Any] = {
        "method": case.method,
        "path": case.path,
        "headers": headers,
        "grants": project.manifest.wanted_capabilities() if case.grants is None else case.grants,
        "config": case.config,
    }
    if body is not None:
        wanted["body_b64"] = base64.b64encode(body).decode()
    if limits.timeout_ms is not None:
        wanted["timeout_ms"] = limits.timeout_ms
    if limits.memory_mb is not None:
        wanted["memory_mb"] = limits.memory_mb
    return wanted


def _no_sandbox(what: str, output: str) -> CliError:
    return CliError(
        f"the component could not be tried in a sandbox: {what}",
        next_step="alga-ext check says whether the component is in order; --only own leaves the sandbox out",
        code="cli_sandbox_failed",
        details=tuple(output.strip().splitlines()[-10:]),
    )
