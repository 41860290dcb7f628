"""`alga-ext call`: one call of an extension through the gateway."""

from __future__ import annotations

import asyncio
import base64
import sys
import time
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote

import msgspec
from cyclopts import Parameter

from gateway.cli.access import NEAREST, Access
from gateway.cli.failures import CliError, Exit, usage
from gateway.cli.following import Follower, LogLine, Wanted, line_of
from gateway.cli.project import reference_here
from gateway.cli.rest import JSON, Answer, Gateway, connected, refused
from gateway.cli.sse import ServerEvent, StreamFormatError
from gateway.cli.terminal import Terminal
from gateway.cli.verbs.logs import STYLES, sentence
from shared.limits import REQUEST_BODY_MAX_BYTES

REQUEST_ID: Final = "x-request-id"
_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
_SHOWN: Final = ("server-timing", "ratelimit", "retry-after", "location", "etag")

Headers = Annotated[list[str] | None, Parameter(name=["--header", "-H"], negative="")]


class Called(msgspec.Struct, frozen=True, kw_only=True):
    """What `call --json` prints.

    Attributes:
        body: the answer as text when it is one, else `None`.
        body_base64: the answer otherwise.
        duration_ms: from the first byte sent to the last one received.
        logs: what was said about the call, with `--logs`; the last line has what it used.
    """

    status: int
    headers: dict[str, str]
    body: str | None
    body_base64: str | None
    request_id: str
    duration_ms: float
    logs: list[LogLine] = []


class _Request(msgspec.Struct, frozen=True):
    """What is sent."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes | None


class _Made(msgspec.Struct, frozen=True):
    """A call that was answered."""

    answer: Answer
    duration_ms: float
    logs: list[LogLine]


def call(
    method: str,
    path: str,
    /,
    *,
    extension: str | None = None,
    data: str | None = None,
    header: Headers = None,
    logs: bool = False,
    access: Access = NEAREST,
) -> Exit:
    """Call an extension through the gateway. The answer goes to standard output, status and timing beside it.

    Args:
        method: GET, POST, PUT, PATCH, DELETE or HEAD.
        path: of the endpoint, with a query if it takes one: /hello?name=Ada
        extension: NAME, publisher.NAME or an id; by default the manifest here.
        data: the request's body: text, @FILE, or @- for standard input.
        header: "name: value" to send along. Repeatable.
        logs: show, too, what was said about this call and what it used; needs extension:debug.
    """
    terminal = access.terminal()
    verb = method.upper()
    if verb not in _METHODS:
        raise usage(f"{method} is no method", next_step=f"the methods are {', '.join(_METHODS)}")
    if not path.startswith("/"):
        raise usage(f"the path {path!r} must start with /", next_step=f"write /{path}")
    body = None if data is None else _body(data)
    headers = _headers(header or [], body)
    reference = extension or reference_here()
    target = f"/api/ext/{quote(reference, safe='')}{_as_bytes(path)}"
    return asyncio.run(_call(access, _Request(verb, target, headers, body), reference if logs else None, terminal))


async def _call(access: Access, request: _Request, watched: str | None, terminal: Terminal) -> Exit:
    async with connected(access.target(terminal)) as gateway:
        started = time.monotonic()
        answer = await gateway.call(request.method, request.target, headers=request.headers, data=request.body)
        duration_ms = (time.monotonic() - started) * 1000
        said = [] if watched is None else await _said(gateway, watched, answer, terminal)
        return _tell(_Made(answer, duration_ms, said), f"{request.method} {request.target}", terminal)


async def _said(gateway: Gateway, reference: str, answer: Answer, terminal: Terminal) -> list[LogLine]:
    """What was said about a call. Not to be told costs a warning only: the call itself was made and answered."""
    lines: list[LogLine] = []

    def take(event: ServerEvent) -> None:
        line = line_of(event)
        if line is not None:
            lines.append(line)

    wanted = Wanted(extension_id=reference, request_id=answer.headers.get(REQUEST_ID))
    try:
        await Follower(gateway, wanted).lately(take, one_call=True)
    except (CliError, StreamFormatError) as error:
        terminal.warn(f"what was said about it cannot be shown: {error}")
    return lines


def _tell(made: _Made, call: str, terminal: Terminal) -> Exit:
    answer = made.answer
    for line in made.logs:
        terminal.note(sentence(line), STYLES[line.level])
    if answer.refusal:
        raise refused(answer, call)
    request_id = answer.headers.get(REQUEST_ID, "")
    terminal.note(
        f"{answer.status} in {made.duration_ms:.0f} ms, {len(answer.body)} bytes, request {request_id}", "bold"
    )
    for name, value in answer.headers.items():
        if name in _SHOWN or name.startswith("x-ext-"):
            terminal.note(f"{name}: {value}")
    if terminal.json:
        text = _text(answer)
        terminal.document(
            Called(
                status=answer.status,
                headers=answer.headers,
                body=text,
                body_base64=None if text is not None else base64.b64encode(answer.body).decode(),
                request_id=request_id,
                duration_ms=round(made.duration_ms, 1),
                logs=made.logs,
            )
        )
    elif terminal.on_screen and answer.media_type == JSON:
        terminal.bytes(_pretty(answer.body))
    else:
        terminal.bytes(answer.body)
    if answer.status >= 400:
        terminal.note(f"next: alga-ext logs --request {request_id}", "cyan")
        return Exit.FAILED
    return Exit.OK


def _pretty(body: bytes) -> bytes:
    try:
        return msgspec.json.format(body)
    except msgspec.DecodeError:
        return body


def _text(answer: Answer) -> str | None:
    try:
        return answer.body.decode()
    except UnicodeDecodeError:
        return None


def _as_bytes(path: str) -> str:
    """The path as it was typed; what no request target can carry is percent-encoded (RFC 3986)."""
    return quote(path, safe="/?%:@!$&'()*+,;=-._~[]")


def _body(data: str) -> bytes:
    if not data.startswith("@"):
        return data.encode()
    try:
        if data == "@-":
            body = sys.stdin.buffer.read(REQUEST_BODY_MAX_BYTES + 1)
        else:
            with Path(data[1:]).open("rb") as file:
                body = file.read(REQUEST_BODY_MAX_BYTES + 1)
    except OSError as error:
        raise usage(
            f"{data[1:]} cannot be read: {error.strerror}", next_step="--data takes text, @FILE or @-"
        ) from error
    if len(body) > REQUEST_BODY_MAX_BYTES:
        raise usage(
            f"the body has more than {REQUEST_BODY_MAX_BYTES} bytes", next_step="send less: the gateway takes no more"
        )
    return body


def _headers(given: list[str], body: bytes | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        name, colon, value = text.partition(":")
        plain = name.strip().lower()
        if not colon or not plain or not plain.replace("-", "").isalnum() or not value.isprintable():
            raise usage(f"{text!r} is no header", next_step='write --header "name: value"')
        if plain == "authorization":
            raise usage("the credential is no header here", next_step="give it with --token or ALGA_EXT_TOKEN")
        found[plain] = value.strip()
    if body is not None:
        found.setdefault("content-type", JSON if _is_json(body) else "application/octet-stream")
    return found


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body)
    except msgspec.DecodeError:
        return False
    return True
