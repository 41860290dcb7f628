"""The URL of an extension's iframe, byte for byte as the host page's library writes it."""

from __future__ import annotations

import pytest

from gateway.installs import ui_source
from shared.errors import InvalidRequest

HASH = "sha256:" + "0f" * 32
ID = "00000000-0000-4000-8000-000000000001"


@pytest.mark.parametrize("base", ["https://ui.example.com", "https://ui.example.com/"])
def test_the_source_names_extension_digest_and_view(base: str) -> None:
    assert ui_source.build(base, ID, HASH, "/a b/é?x=1&y='(!)*~'") == (
        f"https://ui.example.com/ext-ui/{ID}/sha256%3A{'0f' * 32}/index.html"
        f"?path=%2Fa%20b%2F%C3%A9%3Fx%3D1%26y%3D'(!)*~'&extensionId={ID}"
    )


@pytest.mark.parametrize("digest", ["", "sha256:", "sha256:" + "0F" * 32, "sha256:" + "0f" * 31, "md5:" + "0f" * 32])
def test_what_is_no_digest_makes_no_source(digest: str) -> None:
    with pytest.raises(InvalidRequest):
        ui_source.build("https://ui.example.com", ID, digest, "/")


@pytest.mark.parametrize(
    ("base", "origin"),
    [
        ("https://UI.Example.com/base/", "https://ui.example.com"),
        ("https://ui.example.com:443", "https://ui.example.com"),
        ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
        ("http://[::1]:80", "http://[::1]"),
    ],
)
def test_the_origin_is_written_as_browsers_write_it(base: str, origin: str) -> None:
    assert ui_source.origin(base) == origin
