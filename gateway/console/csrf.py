"""Requests that change something come from our own pages, or not at all (CSRF).

Two things are asked of each: that the browser says where it comes from, when it says so at all, and a token that only
a page of ours can contain. The token is made from the cookie's own secret, so nothing has to be stored for it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from shared.errors import Forbidden

FIELD: Final = "csrf_token"
HEADER: Final = b"x-csrf-token"

_PURPOSE: Final = b"alga console: unsafe methods"
_AGAIN: Final = "this form was not sent by the page it belongs to; load the page again and repeat"


def token(secret: str) -> str:
    """What a page sends along, for the cookie `secret`."""
    digest = hmac.digest(secret.encode(), _PURPOSE, hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def check(headers: Iterable[tuple[bytes, bytes]], secret: str, given: str) -> None:
    """Raise `Forbidden` unless the request is one of our own page's.

    Args:
        headers: of the request.
        secret: of the cookie that came with it.
        given: the token in the form or in `x-csrf-token`.
    """
    found = dict(headers)
    site, origin = found.get(b"sec-fetch-site"), found.get(b"origin")
    if site is not None:
        fits = site == b"same-origin"
    elif origin is not None:
        fits = urlsplit(origin).netloc == found.get(b"host", b"")
    else:
        fits = True  # not a browser; the token decides
    if not fits or not hmac.compare_digest(token(secret).encode(), given.encode()):
        raise Forbidden(_AGAIN)
