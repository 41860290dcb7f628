"""Compares the pinned wasmtime with its published faults: `python -m deploy.advisories [VERSION]`; `make check` runs it.

The faults stand in `runner/sandbox/advisories.toml`. A version that one of them affects passes only when the entry says
why it does no harm here and something other than prose bears it out: an engine switch that is really off, another
platform, or a test. Nothing is asked of the network, so what is newer than the file's `reviewed` date is not known.

With a version it judges a candidate before the pin is raised. Exit status: 0 nothing stands against it, 1 something
does, 2 it cannot be judged.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta
from packaging.requirements import Requirement
from packaging.specifiers import InvalidSpecifier, Specifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from runner.sandbox.engine import CPU_TARGET, switched_off

ROOT: Final = Path(__file__).parent.parent
LIST: Final = ROOT / "runner/sandbox/advisories.toml"
LOCKS: Final = ("requirements.lock", "requirements-dev.lock")
PACKAGE: Final = "wasmtime"

_Text = Annotated[str, Meta(min_length=3)]
_Date = Annotated[str, Meta(pattern=r"^20\d\d-[01]\d-[0-3]\d$")]


class AdvisoryError(Exception):
    """The list or the pin cannot be read. The text says where."""


class Advisory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One published fault; the head of the list explains each field."""

    id: Annotated[str, Meta(pattern="^GHSA(-[a-z0-9]{4}){3}$")]
    aliases: tuple[str, ...] = ()
    date: _Date
    summary: _Text
    affected: Annotated[tuple[str, ...], Meta(min_length=1)]
    patched: Annotated[tuple[str, ...], Meta(min_length=1)]
    relevance: Literal["direct", "absent"]
    why: _Text
    we: _Text
    off: tuple[str, ...] = ()
    arch: str = ""
    os: str = ""
    shown_by: tuple[str, ...] = ()
    unknown: str = ""
    source: _Text

    def affects(self, version: Version) -> bool:
        """Whether `version` lies in one of the ranges. A pre-release counts as affected whenever its release line is:
        it may lack a fix that its final release has, and have what its final release brought.
        """
        return any(all(_within(version, bound) for bound in SpecifierSet(one)) for one in self.affected)


class Advisories(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The list, and when somebody last looked for new ones."""

    reviewed: _Date
    advisory: tuple[Advisory, ...]


class Engine(msgspec.Struct, frozen=True):
    """What our engine is, as far as advisories ask: what is off, and the target triple."""

    off: frozenset[str]
    target: str


def _within(version: Version, bound: Specifier) -> bool:
    """Half-open ranges: PEP 440's own `<` would leave pre-releases of the bound out."""
    if bound.operator == "<":
        return version < Version(bound.version)
    return Version(version.base_version) >= Version(bound.version)


def read_list(path: Path = LIST) -> Advisories:
    """The list. Raises `AdvisoryError` when it is not one, or an id stands twice."""
    try:
        found = msgspec.convert(tomllib.loads(path.read_text()), Advisories)
        for one in found.advisory:
            for text in one.affected:
                if not {bound.operator for bound in SpecifierSet(text)} <= {"<", ">="}:
                    raise AdvisoryError(f"{path.name}: {one.id}: ranges are written with >= and <, not {text!r}")
            for text in one.patched:
                Version(text)
    except (OSError, tomllib.TOMLDecodeError, msgspec.ValidationError, InvalidSpecifier, InvalidVersion) as error:
        raise AdvisoryError(f"{path.name}: {error}") from error
    ids = [one.id for one in found.advisory]
    if doubled := sorted({name for name in ids if ids.count(name) > 1}):
        raise AdvisoryError(f"{path.name}: stands twice: {', '.join(doubled)}")
    return found


def pinned(root: Path = ROOT) -> Version:
    """The one version that pyproject and every lock name. Raises `AdvisoryError` when they differ or name none."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    wanted = [one for one in map(Requirement, project["dependencies"]) if one.name == PACKAGE]
    found = {"pyproject.toml": _exact(wanted[0]) if len(wanted) == 1 else None}
    for name in LOCKS:
        lines = re.findall(rf"^{PACKAGE}==(\S+)", (root / name).read_text(), re.MULTILINE)
        found[name] = lines[0] if len(lines) == 1 else None
    if None in found.values() or len(set(found.values())) != 1:
        raise AdvisoryError(f"{PACKAGE} must be pinned to one version everywhere, not {found}; run `make lock`")
    return Version(str(found["pyproject.toml"]))


def _exact(requirement: Requirement) -> str | None:
    """The version of a `==` pin."""
    only = list(requirement.specifier)
    return only[0].version if len(only) == 1 and only[0].operator == "==" and "*" not in only[0].version else None


def our_engine() -> Engine:
    """The engine of this release."""
    return Engine(switched_off(), CPU_TARGET)


def broken_claims(advisory: Advisory, engine: Engine) -> list[str]:
    """What an entry says about our engine and is not so."""
    return [
        *(f"{name} is said to be off, and is not" for name in advisory.off if name not in engine.off),
        *(
            f"{platform} is said not to be ours, and is"
            for platform in _platforms(advisory)
            if platform in engine.target
        ),
    ]


def objections(advisory: Advisory, version: Version, engine: Engine) -> list[str]:
    """Why `version` may not be used, as far as one fault goes; empty when nothing stands against it."""
    if not advisory.affects(version):
        return []
    borne_out = bool(advisory.shown_by) or (
        advisory.relevance == "absent" and bool(advisory.off or any(_platforms(advisory)))
    )
    found = broken_claims(advisory, engine)
    if not borne_out:
        found.append(f"{advisory.relevance}, and nothing but words says that it does no harm here")
    fixed = ", ".join(advisory.patched)
    return [f"{advisory.id} ({advisory.summary}) affects {version}: {reason}; fixed in {fixed}" for reason in found]


def _platforms(advisory: Advisory) -> Iterable[str]:
    return (platform for platform in (advisory.arch, advisory.os) if platform)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.advisories", description="Published faults of wasmtime.")
    parser.add_argument("version", nargs="?", help="a candidate; default: the pinned version")
    asked = parser.parse_args(arguments)
    try:
        listed = read_list()
        version = pinned() if asked.version is None else Version(asked.version)
    except (AdvisoryError, InvalidVersion, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    engine = our_engine()
    against = [text for one in listed.advisory for text in objections(one, version, engine)]
    harmless = [one for one in listed.advisory if one.affects(version) and not objections(one, version, engine)]
    for one in harmless:
        print(f"{one.id} affects {version} and does no harm here: {one.why if one.relevance == 'absent' else one.we}")
    for text in against:
        print(f"error: {text}", file=sys.stderr)
    if against:
        print("next: take a fixed version, or contain the fault and say how (deploy/WASMTIME.md)", file=sys.stderr)
    print(f"{PACKAGE} {version}: {len(listed.advisory)} faults known on {listed.reviewed}, ", end="")
    print(f"{len(harmless) + len({text.split()[0] for text in against})} affect it, {len(against)} stand against it")
    return 1 if against else 0


if __name__ == "__main__":
    sys.exit(main())
