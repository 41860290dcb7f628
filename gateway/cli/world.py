"""The world a guest is built for: the platform's, without the interfaces its manifest does not declare.

Toolchains keep every import of their world, used or not, and an import needs its capability. Deriving the world from
`capabilities` makes the two agree by construction: what is not declared cannot be imported, so nothing has to be
granted that the guest never calls. A project that brings a `wit/` folder of its own is built for that world as it is.

Declared services of a host application are added: each as an interface of its own file, its records to `types`, where
the platform expects them.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

from gateway.cli.project import DIST, Project
from gateway.cli.providers import providers_here
from shared.component import PACKAGE
from shared.provider import Provider
from shared.wit_parser import TYPES, WIT_DIRECTORY

_TYPES_FILE: Final = f"{TYPES}.wit"
_WORLD_FILE: Final = "world.wit"
_TYPES: Final = re.compile(rf"^(?:[ \t]*///[^\n]*\n)*[ \t]*interface {TYPES}\s*\{{", re.MULTILINE)
_BRACE: Final = re.compile(r"//[^\n]*|([{}])")
_PACKAGE: Final = re.compile(r"(?:^[ \t]*///[^\n]*\n)*^[ \t]*package [^;]*;\s*", re.MULTILINE)
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
    texts = {source.name: source.read_text(encoding="utf-8") for source in sorted(WIT_DIRECTORY.glob("*.wit"))}
    texts = {
        name: _IMPORT.sub(lambda found: "" if found[1] in left_out else found[0], text) for name, text in texts.items()
    }
    for provider in providers_here().granted(project.manifest.wanted_capabilities()):
        texts = with_provider(texts, provider)
    for name, text in texts.items():
        (target / name).write_text(text, encoding="utf-8")
    return target


def with_provider(texts: dict[str, str], provider: Provider) -> dict[str, str]:
    """The files of a world that imports the interface of `provider`, too.

    Args:
        texts: file name → WIT; `world.wit` and `types.wit` are among them.
        provider: to be added.
    """
    added, rest = _split(provider.wit)
    types = texts[_TYPES_FILE].rstrip()
    world = texts[_WORLD_FILE]
    behind = max((found.end() for found in _IMPORT.finditer(world)), default=world.index("{") + 2)
    return texts | {
        _TYPES_FILE: f"{types.removesuffix('}').rstrip()}\n{added}}}\n",
        _WORLD_FILE: f"{world[:behind]}    import {provider.name};\n{world[behind:]}",
        f"{provider.name}.wit": rest,
    }


def _split(wit: str) -> tuple[str, str]:
    """What a provider's file writes into `types`, and all the rest of it; the package is named elsewhere."""
    added, rest = "", _PACKAGE.sub("", wit)
    while (start := _TYPES.search(rest)) is not None:
        depth = 1
        for brace in _BRACE.finditer(rest, start.end()):
            depth += {"{": 1, "}": -1}.get(brace[1], 0)
            if not depth:
                added += rest[start.end() : brace.start()].rstrip() + "\n"
                rest = rest[: start.start()] + rest[brace.end() :]
                break
    return added, rest.strip() + "\n"


def undeclared(project: Project) -> dict[str, str]:
    """Interfaces the project's guest cannot import, each with the capability that would let it."""
    wanted = project.manifest.wanted_capabilities()
    return {name: capability for name, capability in providers_here().interfaces.items() if capability not in wanted}


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
