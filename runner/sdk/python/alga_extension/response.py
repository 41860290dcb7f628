"""Answers of a handler."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Headers = Mapping[str, str] | Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Response:
    """One answer; a body of `None` is none at all."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None

    def header(self, name: str) -> str | None:
        """The first header of this name, in whatever case."""
        wanted = name.lower()
        return next((value for held, value in self.headers if held.lower() == wanted), None)

    def json(self) -> object:
        """The body as JSON, for tests. Raises `ValueError` when it is none."""
        parsed: object = json.loads(self.body or b"")
        return parsed


def json_response(body: object, *, status: int = 200, headers: Headers = ()) -> Response:
    """A value as JSON; bytes are taken as JSON that is written already. Raises `TypeError` for what JSON has not."""
    if not isinstance(body, bytes):
        # A lone surrogate, which `json` lets through, has no form in UTF-8.
        body = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return _response(body, "application/json", status, headers)


def text_response(text: str, *, status: int = 200, headers: Headers = ()) -> Response:
    """A text in UTF-8."""
    return _response(text.encode("utf-8", "replace"), "text/plain; charset=utf-8", status, headers)


def bytes_response(body: bytes, *, status: int = 200, headers: Headers = ()) -> Response:
    """Bytes as they are."""
    return _response(bytes(body), "application/octet-stream", status, headers)


def empty_response(status: int = 204, *, headers: Headers = ()) -> Response:
    """No body at all."""
    return Response(status, header_pairs(headers))


def request_headers(headers: Headers, follow_redirects: int = 0) -> tuple[tuple[str, str], ...]:
    """The headers of a request; following redirects is asked for with one that the platform takes out again."""
    if not isinstance(follow_redirects, int) or not 0 <= follow_redirects <= 5:
        raise TypeError("follow_redirects must be a number from 0 to 5")
    asked = (("x-ext-follow-redirects", str(int(follow_redirects))),) if follow_redirects else ()
    return header_pairs(headers) + asked


def header_pairs(headers: Headers) -> tuple[tuple[str, str], ...]:
    """Headers from a mapping or from pairs."""
    return tuple(headers.items() if isinstance(headers, Mapping) else headers)


def _response(body: bytes, content_type: str, status: int, headers: Headers) -> Response:
    pairs = header_pairs(headers)
    if not any(name.lower() == "content-type" for name, _ in pairs):
        pairs = (("content-type", content_type), *pairs)
    return Response(status, pairs, body)
