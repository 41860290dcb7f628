"""The iframe SDK for pages that are built without a bundler: a page that imports `./alga-iframe-sdk.js` gets it.

So a project needs no npm for its page and has no copy that grows old. A project that has a file of that name keeps its
own; one that bundles its page installs `@alga/extension-iframe-sdk` instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Final

from gateway.cli.toolchains import BuildError

NAME: Final = "alga-iframe-sdk.js"

_IMPORT: Final = f"./{NAME}".encode()
_PAGES: Final = frozenset({".html", ".js", ".mjs"})


def places(pages: Iterable[Path]) -> list[Path]:
    """Where the SDK is asked for and does not stand yet, in order.

    Args:
        pages: the files below `ui/`, as they are.
    """
    found = {
        path.with_name(NAME)
        for path in pages
        if path.suffix in _PAGES and path.name != NAME and _IMPORT in path.read_bytes()
    }
    return sorted(place for place in found if not place.exists())


def sdk() -> bytes:
    """The SDK as one ES module. Raises `BuildError` when this installation lacks it."""
    built = files("gateway").joinpath("sdk", "iframe-sdk", "dist", "index.js")
    if not built.is_file():
        raise BuildError(
            f"a page imports ./{NAME}, which this installation does not have",
            next_step="run `make venv` in a clone, or install the package from its wheel",
        )
    return built.read_bytes()
