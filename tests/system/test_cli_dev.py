"""`alga-ext dev` as an author uses it: a change is running seconds later, a mistake is shown, Ctrl-C ends everything."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from deploy.local.record import NAME, Stack
from tests.system.authors import ROOT, Author

ROUND_MAX_S = 40  # a busy machine; `dev` itself says where the time goes


@pytest.fixture
def author(tmp_path: Path, stack: Stack, stack_directory: Path) -> Author:
    return Author(tmp_path, stack_directory / NAME)


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


@pytest.mark.guests
@pytest.mark.slow
@pytest.mark.timeout(400, func_only=True)
def test_a_changed_line_of_a_quickjs_handler_answers_seconds_later(author: Author):
    author.asks("new", "quick", "--template", "js")
    author.folder /= "quick"
    edit(author.folder / "package.json", '"starlingmonkey"', '"quickjs"')
    (author.folder / "node_modules").symlink_to(ROOT / "tests" / "examples" / "node_modules")
    with author.develops() as development:
        first = development.round()
        assert (first["ok"], first["built"]) == (True, True), first
        assert json.loads(author.asks("call", "GET", "/hello")["body"])["message"] == "Hello, world!"
        line = development.next(lambda one: one["event"] == "log" and one["data"]["message"] == "greeting world")
        assert line["data"]["installId"] == first["install_id"]
        began = time.monotonic()
        edit(author.folder / "src" / "routes.js", "Hello, ", "Hi, ")
        second = development.round()
        took_s = time.monotonic() - began
        assert (second["ok"], second["built"], second["install_id"]) == (True, True, first["install_id"])
        assert json.loads(author.asks("call", "GET", "/hello")["body"])["message"] == "Hi, world!"
        print(f"\na changed line answers after {took_s:.1f} s: {second}")
        assert took_s < ROUND_MAX_S
        edit(author.folder / "src" / "routes.js", "export const routes", "export const routes = (")
        broken = development.round()
        assert broken["ok"] is False
        assert broken["error"]["next"]
        assert json.loads(author.asks("call", "GET", "/hello")["body"])["message"] == "Hi, world!"
        edit(author.folder / "src" / "routes.js", "export const routes = (", "export const routes")
        assert development.round()["ok"] is True
        children = development.children()
        assert children
        assert development.end() == 0
        assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    author.types("uninstall", "--purge", "--yes")


@pytest.mark.slow
def test_what_grows_is_granted_here_and_what_is_refused_by_the_registry_is_shown(author: Author):
    author.asks("new", "pages", "--template", "ui-only")
    author.folder /= "pages"
    manifest = author.folder / "manifest.json"
    with author.develops("--no-page", "--no-logs") as development:
        first = development.round()
        assert (first["ok"], first["built"]) == (True, False), first
        (author.folder / "ui" / "style.css").write_text("body { color: red }")
        second = development.round()
        assert (second["ok"], second["build_s"]) == (True, 0.0)
        assert second["version_id"] != first["version_id"]
        text = manifest.read_text()
        manifest.write_text(json.dumps({**json.loads(text), "capabilities": ["cap:http.fetch"]}))
        assert development.round()["ok"] is True
        assert "cap:http.fetch" in author.asks("status")["install"]["granted"]["capabilities"]
        manifest.write_text("{")
        assert development.round()["error"]["code"] == "manifest_invalid"
        manifest.write_text(text)
        assert development.round()["ok"] is True
        assert "cap:http.fetch" not in author.asks("status")["install"]["granted"]["capabilities"]
    author.types("uninstall", "--purge", "--yes")


@pytest.mark.slow
@pytest.mark.timeout(400, func_only=True)
def test_without_a_stack_it_starts_one_and_ends_it(tmp_path: Path):
    author = Author(tmp_path, tmp_path)
    del author.environment["ALGA_STACK"]
    author.asks("new", "alone", "--template", "ui-only")
    author.folder /= "alone"
    with author.develops("--no-page", "--no-logs") as development:
        assert development.round()["ok"] is True
        assert author.asks("status")["install"]["status"] == "enabled"
        pids = json.loads((author.folder / ".local" / NAME).read_text())["pids"].values()
        assert development.end() == 0
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert not (author.folder / ".local" / NAME).exists()
    shutil.rmtree(author.folder / ".local", ignore_errors=True)
