"""`alga-ext build`: the guest's component, when something it depends on has changed."""

from __future__ import annotations

from pathlib import Path

from gateway.cli.access import AS_TEXT, Output
from gateway.cli.failures import Exit
from gateway.cli.incremental import build_project
from gateway.cli.project import open_project
from shared.limits import MIB


def build(directory: Path = Path(), /, *, force: bool = False, output: Output = AS_TEXT) -> Exit:
    """Build the component of a project: dist/main.wasm.

    Nothing is built when the sources are those of the last build. A JavaScript project gets its toolchain by npm the
    first time; a Python project needs componentize-py beside alga-ext.

    Args:
        directory: the project's folder.
        force: build even when nothing has changed.
    """
    terminal = output.terminal()
    built = build_project(open_project(directory), terminal, force=force)
    if built.component is None:
        terminal.say("pages only: there is no component to build")
    elif built.up_to_date:
        terminal.say(f"{built.component} is up to date ({built.size_bytes / MIB:.1f} MiB)")
    else:
        terminal.say(f"{built.component} {built.size_bytes / MIB:.1f} MiB, built with {built.toolchain}")
    terminal.document(built)
    return Exit.OK
