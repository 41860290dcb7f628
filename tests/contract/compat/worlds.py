"""The worlds that components in the field were built for, by what each imports; their WIT is written from ours.

Each world imports a subset of the interfaces and knows nothing of the others: that is what a component built years ago
looks like to a host that has more to offer today.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.cli.world import with_provider
from shared.provider import Providers
from shared.wit_parser import WIT_DIRECTORY

_FIRST: Final = ("context", "secrets", "http", "storage", "logging", "ui-proxy")
_IMPORT: Final = re.compile(r"^ *import ([a-z0-9-]+);\n", re.MULTILINE)

WORLDS: Final[Mapping[str, tuple[str, ...]]] = {
    "first": _FIRST,
    "user": (*_FIRST, "user"),
    "user-v2": (*_FIRST, "user", "user-v2"),
    "scheduler": (*_FIRST, "user", "user-v2", "scheduler", "invoicing"),
    "clients": (*_FIRST, "user", "user-v2", "scheduler", "invoicing", "clients", "services"),
    "all": (
        *(*_FIRST, "user", "user-v2", "scheduler", "invoicing", "clients", "services"),
        *("metrics", "config", "events"),
    ),
}
"""What to call it → the interfaces it imports."""


def write_world(folder: Path, interfaces: tuple[str, ...], providers: Providers) -> Path:
    """The WIT files of the world that imports `interfaces`, in `folder`, which is made.

    Args:
        folder: where they go.
        interfaces: names in our own world, or of services of the host application.
        providers: those services.
    """
    texts = {source.name: source.read_text(encoding="utf-8") for source in WIT_DIRECTORY.glob("*.wit")}
    world = _IMPORT.sub(lambda line: line[0] if line[1] in interfaces else "", texts["world.wit"])
    texts = {"types.wit": texts["types.wit"], "world.wit": world} | {
        f"{name}.wit": texts[f"{name}.wit"] for name in interfaces if f"{name}.wit" in texts
    }
    for provider in providers:
        if provider.name in interfaces:
            texts = with_provider(texts, provider)
    folder.mkdir(parents=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder
