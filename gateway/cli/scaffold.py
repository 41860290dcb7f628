"""Project templates: folders of files under `templates/`, copied with names filled in, and the runtimes beside.

`{{name}}`, `{{publisher}}`, `{{title}}` and `{{folder}}` are filled in wherever they stand in a text. A file that
would disturb where it is kept has another name there (`gitignore` for `.gitignore`). The runtime a guest is written
against is copied into `vendor/`, the pages' side of the bridge into `ui/`, so that a project builds without a registry
and changes only when its author wants.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from gateway.cli import page_sdk
from gateway.cli.failures import CliError, usage
from gateway.cli.toolchains import JS_RUNTIME, JS_RUNTIME_PLACE, PYTHON_RUNTIME

HERE: Final = Path(__file__).parent / "templates"
_RUNTIMES: Final[dict[str, tuple[Path, str]]] = {
    "python": (PYTHON_RUNTIME / "alga_extension", "vendor/alga_extension"),
    "js": (JS_RUNTIME, JS_RUNTIME_PLACE),
}
_BYPRODUCTS: Final = frozenset({"node_modules", "__pycache__"})
_STAYS: Final = _BYPRODUCTS | {"tests", "test", "package-lock.json"}
_RENAMED: Final = {"gitignore": ".gitignore"}
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_NAME_MAX_CHARS: Final = 200  # as the manifest has it


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """What is filled in.

    Attributes:
        name: the manifest's, reverse-domain.
        publisher: the manifest's.
        folder: of the project.
        title: for people.
    """

    name: str
    publisher: str
    folder: str
    title: str


def names(given: str, publisher: str) -> Names:
    """The names of a project called `given`: `hello` is `local.hello`, a name with dots is taken as it is.

    Raises:
        CliError: the manifest could not have this name.
    """
    labels = given.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels) or len(given) > _NAME_MAX_CHARS - len(publisher) - 1:
        raise usage(
            f"{given!r} is no name for an extension",
            next_step="use lower-case letters, digits and -, perhaps with dots: hello, com.acme.tickets",
        )
    if not _LABEL.fullmatch(publisher):
        raise usage(f"{publisher!r} is no publisher", next_step="use lower-case letters, digits and -: acme")
    return Names(
        name=given if len(labels) > 1 else f"{publisher}.{given}",
        publisher=publisher,
        folder=labels[-1],
        title=labels[-1].replace("-", " ").capitalize(),
    )


def make(template: str, target: Path, filled: Names) -> list[str]:
    """Write a project into `target`, which appears complete or not at all.

    Args:
        template: a folder of `templates/`.
        target: must not exist, or be an empty folder.
        filled: the names.

    Returns:
        The author's files of the project, relative, sorted: without the runtimes.

    Raises:
        CliError: something is at `target` already.
        BuildError: this installation lacks the pages' SDK.
        OSError: it cannot be written.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CliError(
            f"{target} is there already",
            next_step="choose another name, another --directory, or remove it",
            code="cli_exists",
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        written = sorted(_write(HERE / template, fresh, filled))
        if template in _RUNTIMES:
            source, place = _RUNTIMES[template]
            shutil.copytree(source, fresh / place, ignore=_ignored)
        (fresh / "ui" / page_sdk.NAME).write_bytes(page_sdk.sdk())
        if target.is_dir():
            target.rmdir()
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return written


def _write(source: Path, target: Path, filled: Names) -> Iterator[str]:
    values = msgspec.structs.asdict(filled)
    for path in sorted(source.rglob("*")):
        inside = path.relative_to(source)
        if not path.is_file() or _BYPRODUCTS & {*inside.parts}:
            continue
        place = target / inside.with_name(_RENAMED.get(inside.name, inside.name))
        place.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8")
        for name, value in values.items():
            text = text.replace(f"{{{{{name}}}}}", str(value))
        place.write_text(text, encoding="utf-8")
        yield place.relative_to(target).as_posix()


def _ignored(_folder: str, names: list[str]) -> set[str]:
    """Of a runtime, its own tests and what its development needs stay behind."""
    return {name for name in names if name in _STAYS or name.startswith((".", "test_")) or name.endswith(".test.js")}
