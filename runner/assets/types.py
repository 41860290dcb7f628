"""What a file name says about its content, in one table. A name it does not know is `application/octet-stream`.

Never guessed from bytes: with `nosniff` a browser then downloads what it was not told to render (threat T51). Nothing
is read from the operating system's type database either, which differs between images.
"""

from __future__ import annotations

from typing import Final

OCTETS: Final = "application/octet-stream"

_TEXT: Final = {
    "html": "text/html",
    "htm": "text/html",
    "xhtml": "application/xhtml+xml",
    "css": "text/css",
    "js": "text/javascript",
    "mjs": "text/javascript",
    "cjs": "text/javascript",
    "json": "application/json",
    "map": "application/json",
    "webmanifest": "application/manifest+json",
    "txt": "text/plain",
    "md": "text/plain",
    "csv": "text/csv",
    "ics": "text/calendar",
    "vtt": "text/vtt",
    "xml": "application/xml",
    "xsl": "application/xml",
    "svg": "image/svg+xml",
    "ftl": "text/plain",
}
_BINARY: Final = {
    "wasm": "application/wasm",
    "pdf": "application/pdf",
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "avif": "image/avif",
    "ico": "image/x-icon",
    "bmp": "image/bmp",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "ttf": "font/ttf",
    "otf": "font/otf",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "wav": "audio/wav",
    "m4a": "audio/mp4",
    "mp4": "video/mp4",
    "webm": "video/webm",
    "zip": "application/zip",
}
_DOCUMENTS: Final = frozenset({"html", "htm", "xhtml", "xml", "xsl", "svg", "pdf"})
_SHRINKING: Final = frozenset({*_TEXT, "wasm", "ttf", "otf", "ico", "bmp"})


def _extension(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[2].lower() if "." in name.rpartition("/")[2] else ""


def content_type(name: str) -> str:
    """The `content-type` of a file, with its charset when it is text."""
    extension = _extension(name)
    if extension in _TEXT:
        return f"{_TEXT[extension]}; charset=utf-8"
    return _BINARY.get(extension, OCTETS)


def is_document(name: str) -> bool:
    """Whether a browser that opens the file makes a document of it, in which scripts could run."""
    return _extension(name) in _DOCUMENTS


def shrinks(name: str) -> bool:
    """Whether compressing the file is worth trying."""
    return _extension(name) in _SHRINKING
