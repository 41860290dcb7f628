"""Which changes of a project's files matter, and for what: pages are shown at once, everything else is built."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from enum import Flag, auto
from pathlib import Path
from typing import Final

from watchfiles import Change, awatch

STEP_MS: Final = 30  # how long nothing more may change until a change counts: an editor writes in two steps
TOGETHER_MAX_MS: Final = 300  # what goes on changing is told about all the same

_OUTPUTS: Final = frozenset({"dist"})  # at the top of a project
_NEVER: Final = frozenset({"node_modules", "__pycache__"})
_EDITORS: Final = ("~", ".swp", ".swx", ".tmp", ".pyc")
_NO_PART: Final = frozenset({"tests", "README.md", "LICENSE"})


class Kind(Flag):
    """What changed."""

    NOTHING = 0
    PAGES = auto()
    CODE = auto()


def kind_of(place: Path) -> Kind:
    """What a change of the file at `place`, relative to the project, asks for."""
    parts = place.parts
    if not parts or parts[0] in _OUTPUTS | _NO_PART or any(part in _NEVER or part.startswith(".") for part in parts):
        return Kind.NOTHING
    if place.name.endswith(_EDITORS) or place.name == "4913":  # which vim writes to try a folder
        return Kind.NOTHING
    return Kind.PAGES if parts[0] == "ui" else Kind.CODE


def kinds_of(folder: Path, paths: Iterable[str]) -> Kind:
    """All of it together."""
    found = Kind.NOTHING
    for path in paths:
        place = Path(path)
        if place.is_relative_to(folder):
            found |= kind_of(place.relative_to(folder))
    return found


async def changes(folder: Path) -> AsyncIterator[Kind]:
    """What changes below `folder`, as it happens; never `NOTHING`.

    Args:
        folder: absolute, links resolved.
    """

    def matters(_change: Change, path: str) -> bool:
        return bool(kinds_of(folder, [path]))

    watching = awatch(
        folder, watch_filter=matters, step=STEP_MS, debounce=TOGETHER_MAX_MS, ignore_permission_denied=True
    )
    async for batch in watching:
        found = kinds_of(folder, (path for _, path in batch))
        if found:
            yield found
