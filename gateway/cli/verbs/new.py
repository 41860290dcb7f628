"""`alga-ext new`: a project that builds, tests and runs as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import msgspec

from gateway.cli import scaffold
from gateway.cli.access import AS_TEXT, Output
from gateway.cli.failures import Exit
from gateway.cli.verbs.keys import LOCAL_PUBLISHER

Template = Literal["python", "js", "ui-only"]

_TESTS: Final = {"python": "alga-ext test", "js": "alga-ext test", "ui-only": ""}


class Created(msgspec.Struct, frozen=True, kw_only=True):
    """What `new --json` prints."""

    directory: str
    name: str
    publisher: str
    template: str
    files: tuple[str, ...]


def new(
    name: str,
    /,
    *,
    template: Template = "python",
    publisher: str = LOCAL_PUBLISHER,
    directory: Path | None = None,
    output: Output = AS_TEXT,
) -> Exit:
    """Make a project that builds, tests and runs as it is.

    Args:
        name: hello becomes local.hello; a reverse-domain name such as com.acme.tickets is taken as it is.
        template: python, js (StarlingMonkey) or ui-only (pages without a handler).
        publisher: who will sign it; `local` is trusted by every local stack.
        directory: the project's folder; by default the last part of the name, here.
    """
    terminal = output.terminal()
    filled = scaffold.names(name, publisher)
    target = directory or Path(filled.folder)
    written = scaffold.make(template, target, filled)
    terminal.say(f"made {filled.name} in {target}", "green")
    for file in written:
        terminal.say(f"  {file}", "dim")
    steps = ["alga-ext build", _TESTS[template], "alga-ext check", "alga-ext keygen --trust-local"]
    steps += ["alga-ext pack", "alga-ext sign", "alga-ext publish", "alga-ext install"]
    terminal.note(f"next: cd {target} && {' && '.join(step for step in steps if step)}", "cyan")
    terminal.document(
        Created(
            directory=str(target),
            name=filled.name,
            publisher=filled.publisher,
            template=template,
            files=tuple(written),
        )
    )
    return Exit.OK
