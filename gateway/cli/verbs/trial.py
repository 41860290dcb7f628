"""`alga-ext test`: the author's own tests, then the real component in a real sandbox."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from gateway.cli import testing
from gateway.cli.access import AS_TEXT, Output
from gateway.cli.failures import Exit
from gateway.cli.incremental import build_project
from gateway.cli.project import Project, open_project
from gateway.cli.terminal import Terminal
from gateway.cli.testing import Own, Tried


class Tested(msgspec.Struct, frozen=True, kw_only=True):
    """What `test --json` prints.

    Attributes:
        own: the author's own tests; `None` when there are none or they were left out.
        sandbox: each request of the real component.
        wall: layer of the sandbox's wall → `on`, or why this machine does not have it.
    """

    ok: bool
    own: Own | None
    sandbox: tuple[Tried, ...]
    wall: dict[str, str] = {}


def trial(
    directory: Path = Path(), /, *, only: Literal["own", "sandbox"] | None = None, output: Output = AS_TEXT
) -> Exit:
    """Run the project's own tests, then its component in a real sandbox.

    The component is built when something it depends on has changed. It gets the requests of tests/sandbox.json; without
    the file each GET endpoint is called once. Storage, events and other hosts are not there: what needs them belongs
    into the project's own tests, which have a host in memory.

    Args:
        directory: the project's folder.
        only: own leaves the sandbox out, sandbox leaves the project's own tests out.
    """
    terminal = output.terminal()
    project = open_project(directory)
    own = None if only == "sandbox" else _own(project, terminal)
    tried, wall = ((), {}) if only == "own" else _sandbox(project, terminal)
    ok = (own is None or own.ok) and all(one.ok for one in tried)
    if own is None and not tried:
        terminal.say("there is nothing to test: no tests/ and no endpoint", "yellow")
    elif ok:
        terminal.say(f"{project.manifest.name} {project.manifest.version}: everything passed", "green")
    else:
        terminal.note("next: correct what stands above, then alga-ext test again", "cyan")
    terminal.document(Tested(ok=ok, own=own, sandbox=tried, wall=wall))
    return Exit.OK if ok else Exit.FAILED


def _own(project: Project, terminal: Terminal) -> Own | None:
    command = testing.own_command(project)
    if not command:
        return None
    terminal.note(f"{' '.join(command[-3:])} …")
    own = testing.run_own(project, command, quiet=terminal.json)
    said = "passed" if own.ok else f"failed with status {own.exit_status}"
    terminal.say(
        f"{'ok  ' if own.ok else 'FAIL'} the project's own tests {said} in {own.duration_s:.1f} s", _style(own.ok)
    )
    return own


def _sandbox(project: Project, terminal: Terminal) -> tuple[tuple[Tried, ...], dict[str, str]]:
    wanted = testing.cases(project)
    if build_project(project, terminal).component is None or not wanted:
        return (), {}
    with terminal.working("compiling the component for a sandbox"):
        answered = testing.run_cases(project, wanted)
    tried = tuple(testing.judge(case, answer) for case, answer in zip(wanted, answered, strict=True))
    for one in tried:
        mark = "ok  " if one.ok else "FAIL"
        terminal.say(f"{mark} {one.name}  {one.status or '—'} in {one.duration_ms:.0f} ms", _style(one.ok))
        for problem in one.problems:
            terminal.say(f"       {problem}", "red")
        for line in () if one.ok else one.logs:
            terminal.say(f"       {line.level} {line.message}", "dim")
    wall = answered[0].wall
    missing = sorted(name for name, state in wall.items() if state != "on")
    if missing:
        terminal.note(f"this machine's sandbox is without {', '.join(missing)}; a runner requires more")
    return tried, wall


def _style(ok: bool) -> str:
    return "" if ok else "red"
