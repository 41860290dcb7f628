"""Where an extension's UI stands: the URL an iframe is given. The format is shared with the host page's library.

`{base}/ext-ui/{extension}/{hash}/index.html?path=…&extensionId=…`: `index.html` always names the UI's entry
document, whatever the bundle calls it, and the page inside reads from `path` which of its views is wanted.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, urlsplit

from shared import ids

_UNESCAPED: Final = "!'()*~"  # what encodeURIComponent leaves alone besides letters, digits, `-`, `_` and `.`


def build(public_base: str, extension_id: str, content_hash: str, path: str) -> str:
    """The `src` of an extension's iframe.

    Args:
        public_base: `RUNNER_PUBLIC_BASE`, with or without a closing slash.
        extension_id: the registry id.
        content_hash: the bundle's digest.
        path: the view inside the UI, with one leading `/`.

    Raises:
        InvalidRequest: `content_hash` is not a digest.
    """
    digest = ids.content_hash(content_hash)
    return (
        f"{public_base.rstrip('/')}/ext-ui/{_encoded(extension_id)}/{_encoded(digest)}/index.html"
        f"?path={_encoded(path)}&extensionId={_encoded(extension_id)}"
    )


def origin(public_base: str) -> str:
    """Scheme, host and port of a base URL as browsers write an origin: lower-case, no default port."""
    parts = urlsplit(public_base)
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{shown}" + (f":{parts.port}" if parts.port not in (None, default) else "")


def _encoded(text: str) -> str:
    return quote(text, safe=_UNESCAPED)
