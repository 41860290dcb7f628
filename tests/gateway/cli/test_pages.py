"""What a browser will refuse in an extension's page is said before anybody wonders why nothing happens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.pages import blocked_in


@pytest.mark.parametrize(
    ("page", "says"),
    [
        ("<script>go()</script>", "a script within the page does not run"),
        ('<script type="module">go()</script>', "a script within the page does not run"),
        ('<button onclick="go()">', "the attribute onclick does not run"),
        ('<BODY ONLOAD="go()">', "the attribute onload does not run"),
        ('<a href=" javascript:go()">', "a javascript: address does not run"),
        ('<script src="https://cdn.example/a.js"></script>', "<script> loads nothing from cdn.example"),
        ('<script src="//cdn.example/a.js"></script>', "<script> loads nothing from cdn.example"),
        ('<link rel="stylesheet" href="https://cdn.example/a.css">', "<link> loads nothing from cdn.example"),
        ('<iframe src="https://a.example"></iframe>', "<iframe> loads nothing from a.example"),
        ('<script src="https://["></script>', "<script> loads nothing from another host"),
    ],
)
def test_what_does_nothing_is_named(page, says):
    assert any(says in sentence for sentence in blocked_in(page)), blocked_in(page)


@pytest.mark.parametrize(
    "page",
    [
        '<script type="module" src="app.js"></script>',
        '<script type="application/json">{}</script>',
        '<link rel="stylesheet" href="style.css">',
        '<link rel="canonical" href="https://a.example/">',
        '<a href="https://a.example/">elsewhere</a>',
        '<p style="color: red">styles may stand in the page</p>',
        "<!-- <script>go()</script> -->",
        "",
    ],
)
def test_what_works_is_not_named(page):
    assert blocked_in(page) == []


def test_the_same_is_said_once():
    assert len(blocked_in("<script>a</script><script>b</script>")) == 1


@given(st.text())
def test_any_text_can_be_looked_at(page):
    blocked_in(page)
