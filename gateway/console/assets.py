"""The files that the console's pages load: read once, under addresses that change with their content.

All stand in one folder whose name is the digest of everything in it, so a browser may keep them for ever and modules
find each other by relative names. `extension-host.js` is what any host page uses; `make venv` builds it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Final

import msgspec
import structlog

from gateway.console import theme

PREFIX: Final = "/msp/static"

_STATIC: Final = ("console.css", "debug.js", "extension.js", "icon.svg")
_HOST: Final = "extension-host.js"
_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml; charset=utf-8",
}

_log = structlog.get_logger(__name__)


class File(msgspec.Struct, frozen=True):
    """One file and what it is."""

    body: bytes
    content_type: str


class Assets:
    """The console's files.

    Args:
        contents: name → bytes.
    """

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        digest = hashlib.sha256()
        for name, body in sorted(contents.items()):
            digest.update(b"%d:%b%d:%b" % (len(name), name.encode(), len(body), body))
        self._files = {name: File(body, _TYPES[name.rpartition(".")[2]]) for name, body in contents.items()}
        self._version = digest.hexdigest()[:16]

    def url(self, name: str) -> str:
        """Where a page finds `name`."""
        return f"{PREFIX}/{self._version}/{name}"

    def find(self, version: str, name: str) -> File | None:
        """The file at an address; `None` for a name or a version that is not ours."""
        return self._files.get(name) if version == self._version else None


def load() -> Assets:
    """Read every file. One that was not built is left out, with a line in the log that says how to build it."""
    package = files("gateway")
    contents = {name: package.joinpath("console", "static", name).read_bytes() for name in _STATIC}
    contents["theme.css"] = theme.stylesheet().encode()
    host = package.joinpath("sdk", "host", "dist", "index.js")
    if host.is_file():
        contents[_HOST] = host.read_bytes()
    else:
        _log.warning("console_script_missing", file=_HOST, next_step="make venv builds gateway/sdk")
    return Assets(contents)
