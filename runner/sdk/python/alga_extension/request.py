"""One request to a handler, and what a handler usually wants of it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cached_property
from urllib.parse import parse_qsl

from alga_extension.errors import HttpError
from alga_extension.records import ContextData

_NOBODY = ContextData(tenant_id="", extension_id="")


class Request:
    """One request. What is not asked for is not computed.

    Args:
        method: as sent.
        url: path and query, as sent.
        headers: names and values, as sent.
        body: `None` when there is none.
        context: whom and what the call is for.

    Attributes:
        params: path parameters; the router fills them in.
    """

    def __init__(
        self,
        method: str = "GET",
        url: str = "/",
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
        context: ContextData = _NOBODY,
    ) -> None:
        self.method = method
        self.url = url
        self.headers = list(headers)
        self.body = body or b""
        self.context = context
        self.params: dict[str, str] = {}

    @property
    def path(self) -> str:
        """The path, percent-encoded as sent."""
        return self.url.partition("?")[0]

    @cached_property
    def _pairs(self) -> list[tuple[str, str]]:
        return parse_qsl(self.url.partition("?")[2], keep_blank_values=True)

    @property
    def query(self) -> dict[str, str]:
        """The first value of each name in the query."""
        return dict(reversed(self._pairs))

    def query_values(self, name: str) -> list[str]:
        """Every value of a name in the query, in their order."""
        return [value for held, value in self._pairs if held == name]

    def header(self, name: str) -> str | None:
        """The first header of this name, in whatever case."""
        wanted = name.lower()
        return next((value for held, value in self.headers if held.lower() == wanted), None)

    def text(self) -> str:
        """The body as UTF-8; what is malformed becomes U+FFFD."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> object:
        """The body as JSON. Raises `HttpError` 400 when it is none."""
        try:
            parsed: object = json.loads(self.body.decode())
        except UnicodeDecodeError as error:
            raise HttpError(400, "the body is not UTF-8") from error
        except ValueError as error:
            raise HttpError(400, f"the body is not JSON: {error}") from error
        return parsed
