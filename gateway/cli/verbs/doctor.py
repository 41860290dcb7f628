"""`alga-ext doctor`: is everything here that the other verbs need."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

import msgspec

from gateway.cli import diagnosis, key_files
from gateway.cli.access import NEAREST, Access, Target
from gateway.cli.diagnosis import Finding
from gateway.cli.failures import CliError, Exit
from gateway.cli.project import MANIFEST, open_project
from gateway.cli.rest import connected
from gateway.cli.terminal import Terminal
from gateway.cli.verbs.keys import LOCAL_PUBLISHER

_STYLES: Final = {"ok": "", "warning": "yellow", "error": "red"}
_MARKS: Final = {"ok": "ok  ", "warning": "warn", "error": "FAIL"}


class Diagnosis(msgspec.Struct, frozen=True):
    """What `doctor --json` prints."""

    ok: bool
    findings: tuple[Finding, ...]


def doctor(*, key: Path | None = None, access: Access = NEAREST) -> Exit:
    """Look for what could be in the way: versions, keys, the gateway, clocks, permissions.

    Args:
        key: the signing key; by default the one keygen makes.
    """
    terminal = access.terminal()
    with terminal.working("looking around"):
        findings = _found(access, key or key_files.default_key(os.environ), terminal)
    for finding in findings:
        terminal.say(f"{_MARKS[finding.verdict]} {finding.about}: {finding.says}", _STYLES[finding.verdict])
        if finding.next_step:
            terminal.say(f"     next: {finding.next_step}", "cyan")
    ok = all(finding.verdict != "error" for finding in findings)
    terminal.document(Diagnosis(ok, tuple(findings)))
    return Exit.OK if ok else Exit.FAILED


def _found(access: Access, key: Path, terminal: Terminal) -> list[Finding]:
    here = Path.cwd()
    found = list(diagnosis.tools(here))
    publisher = LOCAL_PUBLISHER
    if (here / MANIFEST).is_file():
        try:
            publisher = open_project(here).manifest.publisher
        except CliError as error:
            found.append(Finding(verdict="error", about=MANIFEST, says=error.what, next_step="alga-ext check"))
    try:
        target = access.target(terminal)
    except CliError as error:
        found += diagnosis.keys(key, None, publisher)
        return [*found, Finding(verdict="error", about="gateway", says=error.what, next_step=error.next_step)]
    found += diagnosis.keys(key, Path(target.stack.trust_bundle) if target.stack else None, publisher)
    return [*found, *asyncio.run(_remote(target))]


async def _remote(target: Target) -> list[Finding]:
    async with connected(target) as gateway:
        found = await diagnosis.reachable(gateway)
        if any(finding.verdict == "error" and finding.about == "gateway" for finding in found):
            return found
        found += await diagnosis.permissions(gateway)
        if any(finding.about == "extension:read" and finding.verdict == "ok" for finding in found):
            found += await diagnosis.installed(gateway)
        return found
