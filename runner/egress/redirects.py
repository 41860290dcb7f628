"""Where a redirect leads and what of the request goes along (RFC 9110 §15.4). Pure; the hop is decided like any other."""

from __future__ import annotations

from typing import Final

from runner.egress.http1 import Answer, Request
from runner.egress.inject import without_secrets
from shared.egress_request import Headers, without_credentials
from shared.egress_url import Target, redirect_url

FOLLOWED: Final = (301, 302, 303, 307, 308)
_OF_THE_BODY: Final = "content-"  # RFC 9110 §8: these describe a body, and there is none any more


def redirect_of(answer: Answer, base: Target) -> str | None:
    """The URL that `answer` sends to, not checked yet; `None` when it is no redirect."""
    location = answer.header("location") if answer.status in FOLLOWED else None
    return None if location is None else redirect_url(base, location)


def next_request(request: Request, status: int, target: Target) -> Request:
    """`request` as it goes to the redirect's target. Its headers still have their places for secrets."""
    method, body, headers = request.method, request.body, request.headers
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        method, body = "GET", b""
        headers = tuple((name, value) for name, value in headers if not name.startswith(_OF_THE_BODY))
    if target.origin != request.target.origin:
        headers = _for_strangers(headers)
    return Request(method, target, headers, body)


def _for_strangers(headers: Headers) -> Headers:
    return without_secrets(without_credentials(headers))
