"""Secrets that are put in on the way out: `{{secret:name}}` in the value of a header.

The guest writes the name, the platform the value, for a host which the install bound to that secret; so a guest can use
what it never holds. A place that cannot be filled ends the request: the name of a secret is not sent either.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final, Protocol

import msgspec

from runner.egress.http1 import Answer
from shared.egress import Denied, Reason
from shared.egress_request import Headers
from shared.egress_url import Target
from shared.limits import EGRESS_HEADER_BLOCK_MAX_BYTES, KIB
from shared.redaction import Redactor

_PLACE: Final = re.compile(r"\{\{secret:([^{}]*)\}\}")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_AT_ONCE_BYTES: Final = 64 * KIB  # a larger body is cleaned in a thread, so that nobody waits for it


class Secrets(Protocol):
    """Opens secrets for requests."""

    async def inject(self, name: str, target: Target) -> str | Denied:
        """The value of a secret that the install bound to `target`; it is concealed in all that people can read.

        Returns:
            `Denied` with the reason `SECRET`: unknown, expired, not bound to this origin, not to be opened here. Its
            detail says which and holds nothing of any value.
        """
        ...


class Injected(msgspec.Struct, frozen=True):
    """Headers as they go out, and the values that were put in."""

    headers: Headers
    values: tuple[str, ...] = ()


async def inject(headers: Headers, target: Target, secrets: Secrets) -> Injected | Denied:
    """`headers` with the value in each place; asked anew for each hop, since it is bound to the target."""
    if not any(_has_place(value) for _, value in headers):
        return Injected(headers)
    filled: list[tuple[str, str]] = []
    values: dict[str, str] = {}
    room = EGRESS_HEADER_BLOCK_MAX_BYTES
    for name, text in headers:
        for wanted in _PLACE.findall(text):
            if wanted in values:
                continue
            value = await secrets.inject(wanted, target)
            if isinstance(value, Denied):
                return value
            if _CONTROL.search(value):
                what = f"the value of secret {wanted!r} has a control character, perhaps a line break at its end"
                return Denied(Reason.SECRET, f"{what}; set it again without")
            values[wanted] = value
        room -= len(name) + len(text.encode()) + 4
        room -= sum(len(values[found[1]].encode()) - len(found[0].encode()) for found in _PLACE.finditer(text))
        if room < 0:  # a short place can stand for a long value, and a guest can write it often
            most = f"all headers together have at most {EGRESS_HEADER_BLOCK_MAX_BYTES} bytes"
            return Denied(Reason.HEADER_INVALID, f"{most} with the values of their secrets")
        filled.append((name, _PLACE.sub(lambda found: values[found[1]], text)))
    return Injected(tuple(filled), tuple(values.values()))


def without_secrets(headers: Headers) -> Headers:
    """The headers that may follow a redirect to another origin, as far as secrets are concerned."""
    return tuple((name, value) for name, value in headers if not _has_place(value))


async def redacted(answer: Answer, values: tuple[str, ...]) -> Answer:
    """`answer` without the values that its request carried, in the forms in which they are recognised."""
    if not values:
        return answer
    redactor = Redactor()
    for value in values:
        redactor.conceal(value)
    headers = tuple((name, redactor.clean(value)) for name, value in answer.headers)
    if len(answer.body) <= _AT_ONCE_BYTES:
        body = redactor.clean_bytes(answer.body)
    else:
        body = await asyncio.to_thread(redactor.clean_bytes, answer.body)
    if len(body) != len(answer.body):
        headers = tuple((name, value) for name, value in headers if name != "content-length")
    return Answer(answer.status, headers, body)


def _has_place(value: str) -> bool:
    return "{{secret:" in value and _PLACE.search(value) is not None
