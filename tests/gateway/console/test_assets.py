"""The console's files: addresses change with their content, and everything they load is among them."""

from __future__ import annotations

import re

from gateway.console.assets import Assets, load


def test_an_address_finds_its_file_and_changes_with_any_content() -> None:
    one, other = Assets({"a.js": b"1", "b.css": b"2"}), Assets({"a.js": b"1", "b.css": b"3"})
    version, name = one.url("a.js").split("/")[-2:]
    file = one.find(version, name)
    assert file is not None
    assert (file.body, file.content_type) == (b"1", "text/javascript; charset=utf-8")
    assert one.url("a.js") != other.url("a.js")
    assert other.find(version, name) is None


def test_what_is_not_ours_is_not_found() -> None:
    files = load()
    version = files.url("debug.js").split("/")[-2]
    for name in ("", "nothing.js", "../pages.py", "..", "console"):
        assert files.find(version, name) is None


def test_every_import_and_picture_is_among_the_files() -> None:
    files = load()
    version = files.url("debug.js").split("/")[-2]
    for script in ("debug.js", "extension.js"):
        file = files.find(version, script)
        assert file is not None
        for name in re.findall(r"from '\./([^']+)'", file.body.decode()):
            assert files.find(version, name) is not None, name


def test_no_file_names_another_host() -> None:
    files = load()
    version = files.url("debug.js").split("/")[-2]
    for name in ("console.css", "theme.css", "debug.js", "extension.js", "extension-host.js"):
        file = files.find(version, name)
        assert file is not None
        assert re.search(rb"https?://(?!www\.w3\.org/2000/svg)[a-z]", file.body) is None, name
