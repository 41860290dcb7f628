"""Which handler answers: by path, then by method. `/items/:id` takes one segment as `request.params["id"]`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from alga_extension.errors import HttpError
from alga_extension.host import Host
from alga_extension.request import Request
from alga_extension.response import Response, json_response

Handler = Callable[[Request, Host], Response]

_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(slots=True)
class _Pattern:
    path: str
    segments: list[str]
    methods: dict[str, Handler] = field(default_factory=dict)

    def match(self, given: list[str]) -> bool:
        return len(given) == len(self.segments) and all(
            part != "" if segment.startswith(":") else part == segment
            for segment, part in zip(self.segments, given, strict=True)
        )

    def shape(self) -> list[str]:
        return [":" if segment.startswith(":") else segment for segment in self.segments]


class Router:
    """A table of routes that is a handler itself.

    A path without parameters goes before one with, and among those the first one added wins. A path nobody knows is a
    404, a method its path does not take a 405 with `allow`; HEAD is answered as GET where it has no route of its own.

    Args:
        routes: path → method → handler, for routes that are not added by decorators.
    """

    def __init__(self, routes: Mapping[str, Mapping[str, Handler]] | None = None) -> None:
        self._fixed: dict[str, dict[str, Handler]] = {}
        self._patterns: list[_Pattern] = []
        for path, methods in (routes or {}).items():
            for method, handler in methods.items():
                self.add(method, path, handler)

    def add(self, method: str, path: str, handler: Handler) -> None:
        """Add a route. Raises `ValueError` for a path that could never match, or a route that is there already."""
        if not path.startswith("/") or "?" in path or "#" in path:
            raise ValueError(f"a route's path begins with /: {path}")
        methods = self._methods_of(path)
        if method.upper() in methods:
            raise ValueError(f"{method.upper()} {path} is there already")
        methods[method.upper()] = handler

    def route(self, method: str, path: str) -> Callable[[Handler], Handler]:
        """Decorates the handler of a route."""

        def decorate(handler: Handler) -> Handler:
            self.add(method, path, handler)
            return handler

        return decorate

    def get(self, path: str) -> Callable[[Handler], Handler]:
        """Decorates the handler of `GET path`."""
        return self.route("GET", path)

    def post(self, path: str) -> Callable[[Handler], Handler]:
        """Decorates the handler of `POST path`."""
        return self.route("POST", path)

    def put(self, path: str) -> Callable[[Handler], Handler]:
        """Decorates the handler of `PUT path`."""
        return self.route("PUT", path)

    def patch(self, path: str) -> Callable[[Handler], Handler]:
        """Decorates the handler of `PATCH path`."""
        return self.route("PATCH", path)

    def delete(self, path: str) -> Callable[[Handler], Handler]:
        """Decorates the handler of `DELETE path`."""
        return self.route("DELETE", path)

    def __call__(self, request: Request, host: Host) -> Response:
        """Answer a request with the handler of its route."""
        path = request.path
        found = self._find(path)
        if found is None:
            return json_response({"error": "not found", "path": path}, status=404)
        methods, params = found
        handler = methods.get(request.method) or (methods.get("GET") if request.method == "HEAD" else None)
        if handler is None:
            allow = ", ".join(methods)
            refused = {"error": "method not allowed", "path": path, "allow": allow}
            return json_response(refused, status=405, headers={"allow": allow})
        request.params = params
        return handler(request, host)

    def _methods_of(self, path: str) -> dict[str, Handler]:
        if "/:" not in path:
            return self._fixed.setdefault(path, {})
        pattern = next((known for known in self._patterns if known.path == path), None)
        if pattern is None:
            pattern = _Pattern(path, path.split("/"))
            if any(known.shape() == pattern.shape() for known in self._patterns):
                raise ValueError(f"{path} matches what another route matches under other names")
            names = [segment for segment in pattern.segments if segment.startswith(":")]
            if ":" in names or len(set(names)) < len(names):
                raise ValueError(f"each parameter of {path} needs a name of its own")
            self._patterns.append(pattern)
        return pattern.methods

    def _find(self, path: str) -> tuple[dict[str, Handler], dict[str, str]] | None:
        if path in self._fixed:
            return self._fixed[path], {}
        given = path.split("/")
        pattern = next((known for known in self._patterns if known.match(given)), None)
        if pattern is None:
            return None
        named = zip(pattern.segments, given, strict=True)
        return pattern.methods, {segment[1:]: _decoded(part) for segment, part in named if segment.startswith(":")}


def _decoded(segment: str) -> str:
    try:
        if _STRAY_PERCENT.search(segment) is None:
            return unquote(segment, errors="strict")
    except UnicodeDecodeError as error:
        raise HttpError(400, "the path is not percent-encoded UTF-8") from error
    raise HttpError(400, "the path is not percent-encoded UTF-8")
