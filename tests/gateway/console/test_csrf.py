"""A request that changes something comes from a page of ours: below each refusal stands what is accepted."""

from __future__ import annotations

import pytest

from gateway.console import csrf
from shared.errors import Forbidden

SECRET, OTHER = "s" * 43, "t" * 43
HOST = (b"host", b"console.example")


def test_the_token_of_the_own_cookie_is_accepted() -> None:
    csrf.check([HOST], SECRET, csrf.token(SECRET))


@pytest.mark.parametrize(
    "given", ["", "x", csrf.token(OTHER), csrf.token(SECRET)[:-1], csrf.token(SECRET) + "x", SECRET]
)
def test_any_other_token_is_refused(given: str) -> None:
    with pytest.raises(Forbidden):
        csrf.check([HOST], SECRET, given)


@pytest.mark.parametrize(
    "headers",
    [
        [(b"sec-fetch-site", b"same-origin")],
        [(b"sec-fetch-site", b"same-origin"), (b"origin", b"null")],
        [(b"origin", b"https://console.example")],
    ],
)
def test_a_request_of_the_same_origin_is_accepted(headers: list[tuple[bytes, bytes]]) -> None:
    csrf.check([HOST, *headers], SECRET, csrf.token(SECRET))


@pytest.mark.parametrize(
    "headers",
    [
        [(b"sec-fetch-site", b"cross-site")],
        [(b"sec-fetch-site", b"same-site")],
        [(b"sec-fetch-site", b"none")],
        [(b"sec-fetch-site", b"cross-site"), (b"origin", b"https://console.example")],
        [(b"origin", b"null")],
        [(b"origin", b"https://evil.example")],
        [(b"origin", b"https://console.example.evil.example")],
        [(b"origin", b"https://console.example:444")],
    ],
)
def test_a_request_from_elsewhere_is_refused_even_with_the_token(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Forbidden):
        csrf.check([HOST, *headers], SECRET, csrf.token(SECRET))
