"""Between the world's `handler` and an author's: no exception is ever a bare trap, and nothing leaves that cannot."""

from __future__ import annotations

import importlib
import traceback
from typing import Any, Protocol

from alga_extension.bindings import world_host
from alga_extension.errors import HttpError
from alga_extension.host import Host
from alga_extension.interfaces import WORLD
from alga_extension.records import ContextData
from alga_extension.request import Request
from alga_extension.response import Response, json_response
from alga_extension.routing import Handler

_STATUS_MAX = 0xFFFF  # what the world's u16 holds; the platform judges the rest


class WorldExport(Protocol):
    """What componentize-py looks for under the name `WitWorld`."""

    def handler(self, request: Any) -> Any:
        """Answer one `execute-request` with an `execute-response`."""
        ...


def answer(handler: Handler, request: Request, host: Host) -> Response:
    """What `handler` answers to `request`; for unit tests as well.

    An `HttpError` is answered with its status. Any other exception is written to the log with its traceback and
    answered with 500 and no detail, because what it says is for the author and not for the caller.

    Raises:
        MemoryError: is left to the platform, which has a name for it.
    """
    try:
        return _checked(handler(request, host))
    except HttpError as error:
        return json_response({"error": error.message, **error.details}, status=error.status, headers=error.headers)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - reported with its traceback; whatever it is, the caller gets an answer
        host.logging.log_error("".join(traceback.format_exception(error)).rstrip())
        return json_response({"error": "internal error"}, status=500)


def entry(handler: Handler, *, host: Host | None = None) -> type[WorldExport]:
    """The class to assign to `WitWorld` in `app.py`.

    In plain CPython, where a test imports `app.py`, there is no world: the class is made all the same and refuses to
    be called. Call the handler itself there, or `answer`, with `mock_host()`.

    Args:
        handler: a function of request and host, or a `Router`.
        host: what the handler is given; the host of the guest by default.
    """
    types = _world_types()
    bound = host if host is not None or types is None else world_host()

    class WitWorld:
        """The one export of the world."""

        def handler(self, request: Any) -> Any:
            if types is None or bound is None:
                raise RuntimeError("there is no world outside of a component: call the handler with mock_host()")
            return _to_world(answer(handler, _from_world(request), bound), types)

    return WitWorld


def _world_types() -> Any:
    """The generated module of the world's records, `None` outside of a component."""
    try:
        return importlib.import_module(f"{WORLD}.imports.types")
    except ModuleNotFoundError as missing:
        if missing.name != WORLD:
            raise
        return None


def _from_world(raw: Any) -> Request:
    http = raw.http
    return Request(
        http.method,
        http.url,
        headers=[(header.name, header.value) for header in http.headers],
        body=http.body,
        context=ContextData(**vars(raw.context)),
    )


def _to_world(response: Response, types: Any) -> Any:
    headers = [types.HttpHeader(name, value) for name, value in response.headers]
    return types.ExecuteResponse(response.status, headers, response.body)


def _checked(response: object) -> Response:
    """`response` if the border can take it; a wrong type there would end the guest."""
    if not isinstance(response, Response):
        raise TypeError("a handler returns a Response: use json_response, text_response, empty_response")
    status, body = response.status, response.body
    if not isinstance(status, int) or isinstance(status, bool) or not 0 <= status <= _STATUS_MAX:
        raise TypeError(f"not a status: {status!r}")
    if body is not None and not isinstance(body, bytes):
        raise TypeError(f"a body must be bytes or None, not {type(body).__name__}")
    return Response(status, tuple((_header_text(name), _header_text(value)) for name, value in response.headers), body)


def _header_text(text: object) -> str:
    if not isinstance(text, str):
        raise TypeError(f"a header is made of str, not {type(text).__name__}")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
