"""The example extensions keep what they promise by their form; their behaviour is tried where they run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.toolchains import Engine, find_guest

HERE = Path(__file__).parent
ENGINES = {
    "hello-python": Engine.PYTHON,
    "hello-quickjs": Engine.QUICKJS,
    "hello-starling": Engine.STARLINGMONKEY,
}
each_example = pytest.mark.parametrize("example", sorted(ENGINES))


def manifest(example: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads((HERE / example / "manifest.json").read_text(encoding="utf-8"))
    return parsed


def test_the_lock_file_holds_no_address_of_a_registry() -> None:
    lock = (HERE / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock
    assert "registry" not in lock


def test_each_dependency_is_one_exact_version_and_locked_with_its_hash() -> None:
    wanted = json.loads((HERE / "package.json").read_text(encoding="utf-8"))["dependencies"]
    locked = json.loads((HERE / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    for name, version in wanted.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
        assert locked[f"node_modules/{name}"]["version"] == version
    assert all("integrity" in entry for path, entry in locked.items() if path)


def test_each_folder_of_an_example_is_listed_here() -> None:
    assert sorted(path.parent.name for path in HERE.glob("*/manifest.json")) == sorted(ENGINES)


@each_example
def test_each_example_names_the_engine_it_is_for(example: str) -> None:
    assert find_guest(HERE / example).engine is ENGINES[example]


def test_the_javascript_examples_differ_in_their_engine_only() -> None:
    quickjs, starling = (HERE / name / "src" / "handler.js" for name in ("hello-quickjs", "hello-starling"))
    assert quickjs.read_bytes() == starling.read_bytes()


def test_all_examples_offer_the_same_endpoints() -> None:
    python, quickjs, starling = (manifest(example)["api"] for example in sorted(ENGINES))
    assert python == quickjs == starling


@each_example
def test_each_manifest_names_files_that_exist(example: str) -> None:
    described = manifest(example)
    assert described["name"] == f"samples.{example}"
    for path in (described["icon"], described["ui"]["entry"]):
        assert (HERE / example / path).is_file()


@each_example
def test_no_page_carries_a_script_or_a_style_of_its_own(example: str) -> None:
    page = (HERE / example / "ui" / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL) == [""]
    assert re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", page) is None
    referenced = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all((HERE / example / "ui" / name).is_file() for name in referenced)


@each_example
def test_each_page_says_its_language_its_title_and_which_extension_it_is(example: str) -> None:
    page = (HERE / example / "ui" / "index.html").read_text(encoding="utf-8")
    assert '<html lang="en">' in page
    assert re.search(r"<title>\S.*</title>", page)
    assert page.count("<h1>") == page.count("<main>") == 1
    assert manifest(example)["name"] in page
    assert 'id="extension-id"' in page
