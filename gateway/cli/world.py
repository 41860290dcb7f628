"""The world a guest is built for: the platform's, without the interfaces its manifest does not declare.

Toolchains keep every import of their world, used or not, and an import needs its capability. Deriving the world from
`capabilities` makes the two agree by construction: what is not declared cannot be imported, so nothing has to be
granted that the guest never calls. A project that brings a `wit/` folder of its own is built for that world as it is.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

from gateway.cli.project import DIST, Project
from shared.capabilities import INTERFACES
from shared.component import PACKAGE
from shared.wit_parser import WIT_DIRECTORY

_IMPORT: Final = re.compile(r"^[ \t]*import ([a-z][a-z0-9-]*);[ \t]*\n", re.MULTILINE)


def write_world(project: Project) -> Path:
    """The folder of the WIT files to build `project` against, written anew where it is derived.

    Raises:
        OSError: it cannot be written.
    """
    own = project.folder / "wit"
    if own.is_dir():
        return own
    target = project.folder / DIST / "wit"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    left_out = undeclared(project)
    for source in sorted(WIT_DIRECTORY.glob("*.wit")):
        text = source.read_text(encoding="utf-8")
        narrowed = _IMPORT.sub(lambda found: "" if found[1] in left_out else found[0], text)
        (target / source.name).write_text(narrowed, encoding="utf-8")
    return target


def undeclared(project: Project) -> dict[str, str]:
    """Interfaces the project's guest cannot import, each with the capability that would let it."""
    wanted = project.manifest.wanted_capabilities()
    return {name: capability for name, capability in INTERFACES.items() if capability not in wanted}


def missing_declarations(project: Project, output: str) -> list[str]:
    """Sentences about interfaces that a failed toolchain could not find because the manifest does not declare them.

    Args:
        project: what was built.
        output: what the toolchain wrote.
    """
    return [
        f"the guest imports {PACKAGE}/{name}: list {capability} under `capabilities` in manifest.json"
        for name, capability in undeclared(project).items()
        if re.search(rf"{PACKAGE}/{name}\b(?!-)|cannot import name '{name.replace('-', '_')}'", output)
    ]
