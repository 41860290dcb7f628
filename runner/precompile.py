"""`python -m runner.precompile --engine current|ID`: native code for every accepted bundle, before an engine is rolled out.

It runs in the image that is about to be rolled out, with the settings and credentials of the compiler role, beside the
compiler that serves the old engine. Progress goes to standard error, the result to standard output; the exit status is
the gate: 0 when every digest that a runner may execute has its code, 1 when not, 2 when it could not be begun.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from runner.aot.inventory import DigestListError, listed_digests, stored_digests
from runner.aot.jobs import CompileLimits
from runner.aot.precompile import Outcome, Precompilation, Report
from runner.aot.role import Role, open_role, target_of
from runner.listener import stopping
from runner.settings import COMPILER_VARIABLES, RUNNER_VARIABLES, CompilerSettings, read_compiler
from runner.usable import usable_cores
from shared import logs, settings
from shared.errors import PlatformError
from shared.ids import ContentHash
from shared.settings import SettingError
from shared.terminal_safe import terminal_safe
from shared.trust import TrustFormatError, TrustStore

CURRENT: Final = "current"
JOBS_MAX: Final = 64  # compilations at once; each may take four gibibytes
COMPLETE, INCOMPLETE, REFUSED = 0, 1, 2
_ENGINE: Final = re.compile(r"wasmtime-([0-9]+(?:\.[0-9]+)*[a-z0-9.]*)-[0-9a-f]{16}")
_DETAIL_MAX_CHARS: Final = 400


class RefusedError(Exception):
    """The run cannot be begun. The text says why and what to do next."""


def main(arguments: Sequence[str] | None = None, env: Mapping[str, str] | None = None) -> int:
    """Run the command; returns the exit status."""
    asked = _parser().parse_args(arguments)
    environment = os.environ if env is None else env
    logs.configure("precompile", level="warning")  # what went well is told by the progress lines
    for warning in settings.unknown(environment, RUNNER_VARIABLES, COMPILER_VARIABLES):
        _say(f"warning: {warning}")
    try:
        read = read_compiler(environment)
        check_engine(asked.engine, target_of(read).engine_id)
        digests = None if asked.digests is None else _list(asked.digests)
        report = asyncio.run(_run(read, asked, digests))
    except (SettingError, TrustFormatError, DigestListError, RefusedError, OSError, UnicodeDecodeError) as error:
        _say(f"error: {error}")
        return REFUSED
    except PlatformError as error:
        _say(f"error: the list of digests cannot be had: {error.code}: {error.detail}")
        return REFUSED
    out = terminal_safe(msgspec.json.encode(report)).decode() if asked.json else summary(report)
    sys.stdout.write(out + "\n")
    return COMPLETE if report.complete else INCOMPLETE


def check_engine(wanted: str, here: str) -> None:
    """Return when this installation makes code for `wanted`.

    Args:
        wanted: `current`, or an engine id.
        here: the engine id of what is installed.

    Raises:
        RefusedError: it does not; the text says where it can be done.
    """
    if wanted in {CURRENT, here}:
        return
    found, own = _ENGINE.fullmatch(wanted), _ENGINE.fullmatch(here)
    if found is None:
        raise RefusedError(f"--engine must be {CURRENT!r} or an engine id such as {here!r}, not {wanted!r}")
    if own is not None and found[1] == own[1]:
        raise RefusedError(
            f"this installation has wasmtime {own[1]} too, but makes code for {here}: its release or RUNNER_FUEL "
            f"differs. Run the command in the image that is about to be rolled out, with the settings of its compiler"
        )
    raise RefusedError(
        f"this installation makes code for {here}; {wanted} needs wasmtime {found[1]}. Run the command in the image "
        f"that has it, the one about to be rolled out, or say --engine {CURRENT}"
    )


def summary(report: Report) -> str:
    """The result for a person: one line, and one for each digest that is not ready."""
    share = 100 * report.ready // report.needed if report.needed else 100 * int(report.complete)
    counts = ", ".join(f"{number} {status}" for status, number in report.counts.items()) or "nothing stored"
    lines = [f"{report.ready} of {report.needed} ready ({share} %) for {report.engine_id}: {counts}"]
    lines += [
        f"  {one.content_hash} {_plain(one.name)} {one.code or one.status}: {_plain(one.detail)}"
        for one in report.unready
    ]
    if not report.total and not report.complete:
        lines.append("  no bundle was found: is it the right bucket? A cell without bundles is told --allow-empty")
    elif not report.complete:
        lines.append("  run it again to go on; nothing that is ready is done twice")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m runner.precompile", description="Native code for every accepted bundle, before a roll-out."
    )
    parser.add_argument("--engine", required=True, help="`current`, or the engine id this image must have")
    parser.add_argument("--digests", metavar="FILE", help="a list, one digest a line, `-`: standard input")
    parser.add_argument("--jobs", type=_jobs, default=usable_cores(), help="compilations at once; default: cores")
    parser.add_argument("--check", action="store_true", help="compile nothing, say what is missing")
    parser.add_argument("--json", action="store_true", help="the result as one JSON object")
    parser.add_argument("--allow-empty", action="store_true", help="a store without bundles is complete")
    return parser


def _jobs(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 2 or not 1 <= int(text) <= JOBS_MAX:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to {JOBS_MAX}")
    return int(text)


def _list(source: str) -> list[ContentHash]:
    if source == "-":
        return listed_digests(sys.stdin)
    with Path(source).open(encoding="utf-8") as lines:
        return listed_digests(lines)


async def _run(read: CompilerSettings, asked: argparse.Namespace, digests: list[ContentHash] | None) -> Report:
    limits = CompileLimits(at_once=asked.jobs)
    async with (
        stopping() as stop,
        open_role(
            read, TrustStore(read.signing_trust_bundle, unsigned_allowed=read.ext_allow_unsigned), limits=limits
        ) as role,
    ):
        found = await stored_digests(role.objects) if digests is None else digests
        _say(f"{len(found)} digests, {asked.jobs} at once, for {role.target.engine_id}")
        return await _until_stopped(_precompilation(role, asked, found, digests is None), asked.allow_empty, stop)


def _precompilation(
    role: Role, asked: argparse.Namespace, digests: list[ContentHash], only_accepted: bool
) -> Precompilation:
    width = len(str(len(digests)))
    return Precompilation(
        role,
        digests,
        at_once=asked.jobs,
        only_accepted=only_accepted,
        compiles=not asked.check,
        told=lambda outcome, number: _say(f"[{number:{width}}/{len(digests)}] {progress(outcome)}"),
    )


async def _until_stopped(work: Precompilation, may_be_empty: bool, stop: asyncio.Event) -> Report:
    """Run to the end, or until a signal; either way there is a report."""
    running, stopped = asyncio.create_task(work.run()), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            _say("stopping: what is being compiled is given up")
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        elif (error := running.exception()) is not None:
            raise error
    finally:
        stopped.cancel()
    return work.report(may_be_empty=may_be_empty)


def progress(outcome: Outcome) -> str:
    """One digest's line."""
    line = f"{outcome.status:8} {outcome.content_hash} {outcome.seconds:6.1f} s {_plain(outcome.name)}".rstrip()
    return f"{line} {outcome.code}: {_plain(outcome.detail)}" if outcome.code else line


def _plain(text: str) -> str:
    """Text that strangers wrote, fit for a terminal."""
    return "".join(mark if mark.isprintable() else "?" for mark in text[:_DETAIL_MAX_CHARS])


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
