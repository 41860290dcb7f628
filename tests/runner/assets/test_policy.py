"""The headers of UI documents: exact, and still ours when an operator replaces them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.assets.policy import ALWAYS, UiPolicy
from runner.assets.types import content_type, is_document
from shared.manifest_parts import Csp

HOME = UiPolicy(frame_ancestors="https://app.example.com")


def directives(text: str) -> dict[str, str]:
    """As a browser reads it: of two of one name the first counts (CSP 3 §2.2.1)."""
    found: dict[str, str] = {}
    for part in text.split(";"):
        name, _, value = part.strip().partition(" ")
        found.setdefault(name.lower(), value)
    return found


def test_the_policy_of_an_extension_without_wishes():
    assert HOME.document_policy(Csp()) == (
        "sandbox allow-scripts allow-forms; default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'none'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors https://app.example.com"
    )


def test_the_manifests_sources_are_added():
    policy = directives(
        HOME.document_policy(
            Csp(
                connect_src=("https://api.example.com", "wss://live.example.com:8443", "'self'"),
                img_src=("https://*.img.example.com",),
                font_src=("https://fonts.example.com",),
            )
        )
    )
    assert policy["connect-src"] == "https://api.example.com wss://live.example.com:8443 'self'"
    assert policy["img-src"] == "'self' data: blob: https://*.img.example.com"
    assert policy["font-src"] == "'self' data: https://fonts.example.com"


@pytest.mark.security
@given(st.text(max_size=60))
def test_no_source_can_write_another_directive(source: str):
    plain = directives(HOME.document_policy(Csp()))
    policy = directives(HOME.document_policy(Csp(img_src=(source,), connect_src=(source,), font_src=(source,))))
    assert policy.keys() == plain.keys()
    for name in ("sandbox", "script-src", "default-src", "frame-ancestors"):
        assert policy[name] == plain[name]


REPLACEMENTS = [
    "default-src *",
    "default-src *; sandbox allow-scripts allow-same-origin",
    "SANDBOX allow-same-origin; default-src *",
    "default-src *; frame-ancestors *",
    "default-src *, sandbox allow-same-origin, frame-ancestors *",
    "sandbox allow-scripts Allow-Same-Origin; sandbox allow-same-origin",
    ";;; ,",
]


@pytest.mark.security
@pytest.mark.parametrize("text", REPLACEMENTS)
def test_a_replacement_keeps_the_sandbox_and_the_ancestors(text: str):
    whole = UiPolicy(frame_ancestors="https://app.example.com", replacement=text).document_policy(Csp())
    policy = directives(whole)
    assert "allow-same-origin" not in whole.lower()
    assert "sandbox" in policy
    assert policy["frame-ancestors"] == "https://app.example.com"
    assert "," not in whole


def test_a_replacement_is_otherwise_the_operators_and_may_be_stricter():
    whole = UiPolicy(frame_ancestors="'none'", replacement="default-src 'self'; sandbox").document_policy(Csp())
    assert whole == "sandbox; default-src 'self'; frame-ancestors 'none'"


def test_a_host_of_its_own_may_keep_its_origin():
    own = UiPolicy(frame_ancestors="'none'", replacement="sandbox allow-same-origin", shared_host=False)
    assert directives(own.document_policy(Csp()))["sandbox"] == "allow-same-origin"


def test_what_stands_on_every_file():
    names = dict(ALWAYS)
    assert names[b"x-content-type-options"] == b"nosniff"
    assert names[b"referrer-policy"] == b"no-referrer"
    assert names[b"cross-origin-resource-policy"] == b"cross-origin"
    assert names[b"access-control-allow-origin"] == b"*"
    assert b"camera=()" in names[b"permissions-policy"]
    assert b"=(self" not in names[b"permissions-policy"]


@pytest.mark.security
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ui/page", "application/octet-stream"),
        ("ui/page.", "application/octet-stream"),
        ("ui/page.unknown", "application/octet-stream"),
        ("ui/dir.html/page", "application/octet-stream"),
        ("ui/.html", "text/html; charset=utf-8"),
        ("ui/PAGE.HTML", "text/html; charset=utf-8"),
        ("ui/a.js", "text/javascript; charset=utf-8"),
        ("ui/a.mjs", "text/javascript; charset=utf-8"),
        ("ui/a.css", "text/css; charset=utf-8"),
        ("ui/a.json", "application/json; charset=utf-8"),
        ("ui/a.svg", "image/svg+xml; charset=utf-8"),
        ("ui/a.png", "image/png"),
        ("ui/a.woff2", "font/woff2"),
        ("ui/a.wasm", "application/wasm"),
        ("ui/a.tar.gz", "application/octet-stream"),
    ],
)
def test_the_type_follows_from_the_name_alone(name: str, kind: str):
    assert content_type(name) == kind


@pytest.mark.security
@pytest.mark.parametrize("name", ["a.html", "a.HTM", "a.xhtml", "a.svg", "a.xml", "a.xsl", "a.pdf"])
def test_whatever_a_browser_would_make_a_document_of_has_a_policy(name: str):
    assert is_document(name)


@pytest.mark.parametrize("name", ["a.js", "a.css", "a.png", "a", "html"])
def test_what_is_no_document_has_none(name: str):
    assert not is_document(name)
