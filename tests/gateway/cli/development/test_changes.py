"""Which changes matter: what an editor, a toolchain or a version control system writes beside the sources does not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.cli.development.changes import Kind, changes, kind_of, kinds_of


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("ui/index.html", Kind.PAGES),
        ("ui/dist/app.js", Kind.PAGES),
        ("app.py", Kind.CODE),
        ("src/handler.js", Kind.CODE),
        ("manifest.json", Kind.CODE),
        ("vendor/alga_extension/http.py", Kind.CODE),
        ("wit/world.wit", Kind.CODE),
        ("dist/main.wasm", Kind.NOTHING),
        ("src/dist/part.js", Kind.CODE),
        ("node_modules/x/index.js", Kind.NOTHING),
        ("src/node_modules/x/index.js", Kind.NOTHING),
        ("__pycache__/app.cpython-311.pyc", Kind.NOTHING),
        (".git/index", Kind.NOTHING),
        (".local/stack.json", Kind.NOTHING),
        ("ui/.index.html.swp", Kind.NOTHING),
        ("src/routes.js~", Kind.NOTHING),
        ("4913", Kind.NOTHING),
        ("tests/test_app.py", Kind.NOTHING),
        ("README.md", Kind.NOTHING),
        (".", Kind.NOTHING),
    ],
)
def test_a_change_asks_for_pages_code_or_nothing(place, kind):
    assert kind_of(Path(place)) == kind


def test_several_changes_ask_for_all_of_it():
    folder = Path("/project")
    assert kinds_of(folder, ["/project/ui/a.js", "/project/app.py"]) == Kind.PAGES | Kind.CODE
    assert kinds_of(folder, ["/elsewhere/app.py"]) == Kind.NOTHING


async def test_changes_are_told_as_they_happen_and_byproducts_are_not(tmp_path):
    (tmp_path / "ui").mkdir()
    (tmp_path / "dist").mkdir()
    found = changes(tmp_path)
    first = asyncio.ensure_future(anext(found))
    # The watcher says nothing about when it begins to watch, so a change is made until one is heard of.
    async with asyncio.timeout(20):
        while not first.done():
            (tmp_path / "dist" / "main.wasm").write_text("x")
            (tmp_path / "ui" / "index.html").write_text("x")
            await asyncio.wait({first}, timeout=0.2)
    assert first.result() == Kind.PAGES
    await found.aclose()
