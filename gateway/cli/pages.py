"""What a browser will refuse in an extension's pages: the policy they are served with allows files of the bundle only.

Scripts come from files of the bundle (`script-src 'self'`), so a script within a page, an `onclick` and a script from
another host do nothing at all, without a word on the page. Said here, it costs a minute instead of an evening.
"""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Final
from urllib.parse import urlsplit

_LOADED: Final = {"script": "src", "link": "href", "iframe": "src"}
_JAVASCRIPT: Final = frozenset({"", "module", "text/javascript", "application/javascript", "importmap"})


def blocked_in(page: str) -> list[str]:
    """Sentences about everything in an HTML text that the platform's policy stops, each once."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return list(dict.fromkeys(reader.found))


class _Reader(HTMLParser):
    """Collects what cannot work. A text that is no HTML has no tags, and nothing is found in it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one element."""
        given = {name: value or "" for name, value in attrs}
        if tag == "script" and "src" not in given and given.get("type", "").lower() in _JAVASCRIPT:
            self.found.append("a script within the page does not run: put it into a file below ui/")
        for name in given:
            if name.startswith("on"):
                self.found.append(f"the attribute {name} does not run: add the listener in a script file")
        if given.get("href", "").strip().lower().startswith("javascript:"):
            self.found.append("a javascript: address does not run: add a listener in a script file")
        address = given.get(_LOADED.get(tag, ""), "")
        if _elsewhere(address) and (tag != "link" or "stylesheet" in given.get("rel", "").lower()):
            self.found.append(f"<{tag}> loads nothing from {_host(address)}: put the file into the bundle, below ui/")


def _elsewhere(address: str) -> bool:
    return address.strip().lower().startswith(("http://", "https://", "//"))


def _host(address: str) -> str:
    try:
        return urlsplit(address.strip()).hostname or "another host"
    except ValueError:
        return "another host"
