"""Which release this is: what the installed distribution says."""

from __future__ import annotations

import importlib.metadata
from typing import Final

DISTRIBUTION: Final = "alga-extensions"
UNINSTALLED: Final = "0+uninstalled"
"""Run from sources that nobody installed (PEP 440, a local version)."""


def release() -> str:
    """The version of this release."""
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return UNINSTALLED
