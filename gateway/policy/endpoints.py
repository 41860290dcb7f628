"""Which endpoint of the manifest a call meets, and whether one it does not meet may pass. Pure.

`advisory` lets undeclared calls through under one label, so that they can be counted; `enforce` answers 404.
An install may be stricter than the platform, never looser. Of several declarations that fit, the one with the
earlier literal segment wins, so that `/users/me` is never taken for `/users/:id`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from shared.errors import EndpointNotFound

EndpointPolicy = Literal["advisory", "enforce"]

UNDECLARED: Final = "undeclared"
"""Label of every call that meets no declaration: one for all, so that callers cannot make up new ones."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One declaration of `api.endpoints`.

    Attributes:
        method: upper case.
        path: the template, `/agreements/:id`.
        timeout_ms: the endpoint's own limit in milliseconds, or none.
        schedulable: whether a schedule may call it.
    """

    method: str
    path: str
    timeout_ms: int | None = None
    schedulable: bool = False


class Match(msgspec.Struct, frozen=True):
    """What a call met.

    Attributes:
        label: `GET /agreements/:id`, or `UNDECLARED`; of bounded variety, fit for logs and metrics.
        endpoint: the declaration, or none.
    """

    label: str
    endpoint: Endpoint | None


def effective(platform: EndpointPolicy, install: EndpointPolicy | None) -> EndpointPolicy:
    """The stricter of the platform's and the install's policy."""
    return "enforce" if "enforce" in (platform, install) else "advisory"


def find(endpoints: Iterable[Endpoint], method: str, segments: tuple[str, ...]) -> Endpoint | None:
    """The declaration that fits best, or none. `HEAD` meets what `GET` meets unless it is declared itself.

    Args:
        endpoints: the manifest's declarations.
        method: the caller's method, upper case.
        segments: the decoded path segments (`gateway.policy.paths.ExtPath.segments`).
    """
    wanted = ("HEAD", "GET") if method == "HEAD" else (method,)
    fitting = [
        (wanted.index(endpoint.method), tuple(_is_parameter(part) for part in template), endpoint)
        for endpoint in endpoints
        if endpoint.method in wanted and _fits(template := _split(endpoint.path), segments)
    ]
    return min(fitting, key=lambda found: found[:2])[2] if fitting else None


def decide(policy: EndpointPolicy, endpoints: Iterable[Endpoint], method: str, segments: tuple[str, ...]) -> Match:
    """The endpoint a call meets under `policy`.

    Raises:
        EndpointNotFound: nothing declared fits and the policy is `enforce`.
    """
    endpoint = find(endpoints, method, segments)
    if endpoint is not None:
        return Match(f"{endpoint.method} {endpoint.path}", endpoint)
    if policy == "enforce":
        raise EndpointNotFound("only endpoints that the extension's manifest lists under api.endpoints can be called")
    return Match(UNDECLARED, None)


def _split(path: str) -> tuple[str, ...]:
    return tuple(path.removeprefix("/").split("/"))


def _is_parameter(part: str) -> bool:
    return len(part) > 1 and part.startswith(":")


def _fits(template: tuple[str, ...], segments: tuple[str, ...]) -> bool:
    return len(template) == len(segments) and all(
        bool(given) if _is_parameter(expected) else expected == given
        for expected, given in zip(template, segments, strict=True)
    )
