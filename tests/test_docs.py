"""The documentation says what the code says: tables are up to date, links lead somewhere, names that are mentioned exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy import tables
from shared.error_advice import ADVICE, advice
from shared.errors import BY_CODE

ROOT = Path(__file__).parent.parent
SKIPPED = {"node_modules", ".venv", ".local", "dist", "build"}
PAGES = [path for path in sorted(ROOT.rglob("*.md")) if not SKIPPED & set(path.relative_to(ROOT).parts)]
SETTINGS = {var.name for variables in tables.SETTINGS.values() for var in variables}
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def broken_links(page: Path) -> list[str]:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    return [link for link in links if "://" not in link and not (page.parent / link).exists()]


def unknown_settings(page: Path) -> list[str]:
    names = re.findall(r"`((?:EXT|RUNNER|GATEWAY|COMPILER|STORAGE_S3|UI_PROXY)_[A-Z0-9_]+)`", page.read_text())
    return [name for name in names if name.removesuffix("_FILE") not in SETTINGS]


def unknown_targets(page: Path) -> list[str]:
    commands = re.findall(r"(?:^    |`)make ((?:[a-z-]+ ?)+)", page.read_text(), re.MULTILINE)
    return [target for command in commands for target in command.split() if target not in TARGETS]


@pytest.mark.parametrize("path", tables.documents(), ids=lambda path: path.name)
def test_the_tables_are_those_of_the_code(path):
    assert path.read_text() == tables.documents()[path], "run make fmt"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_setting_and_command_of_a_page_exists(page):
    assert broken_links(page) == []
    assert unknown_settings(page) == []
    assert unknown_targets(page) == []


def test_a_page_that_promises_what_does_not_exist_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("See [a](absent.md), set `EXT_ABSENT`, call `make absent`.\n\n    make venv other\n")
    assert broken_links(page) == ["absent.md"]
    assert unknown_settings(page) == ["EXT_ABSENT"]
    assert unknown_targets(page) == ["absent", "other"]


def test_every_setting_error_code_and_command_has_its_line():
    deploy, shared = (ROOT / "deploy/README.md").read_text(), (ROOT / "shared/README.md").read_text()
    contributing = (ROOT / ".github/CONTRIBUTING.md").read_text()
    assert [name for name in sorted(SETTINGS) if f"| `{name}` |" not in deploy] == []
    assert [code for code in BY_CODE if f"| `{code}` |" not in shared] == []
    assert [name for name in sorted(TARGETS) if f"| `make {name}` |" not in contributing] == []


def test_every_module_of_shared_has_its_line():
    text = (ROOT / "shared/README.md").read_text()
    stems = {path.stem for path in (ROOT / "shared").glob("*.py")} - {"__init__"}
    assert {stem for stem in stems if f"| [`{stem}`]({stem}.py) |" not in text} == set()


def test_every_error_code_says_what_somebody_should_do():
    assert set(ADVICE) == set(BY_CODE)
    for code, sentences in ADVICE.items():
        told = [text for text in (sentences.user, sentences.operator, sentences.author) if text]
        assert told, code
        assert [text for text in told if not text.endswith(".")] == [], code


def test_who_is_blamed_is_told_what_to_do():
    for code, cls in BY_CODE.items():
        if cls.blame == "guest":
            assert ADVICE[code].author, code
        if cls.blame == "host":
            assert ADVICE[code].operator, code


def test_an_unknown_code_is_met_like_an_internal_error():
    assert advice("of_a_later_release") == ADVICE["internal"]


def test_a_table_is_written_between_its_lines_and_nowhere_else():
    page = "before\n<!-- begin x: written by make fmt -->\nold\n<!-- end x -->\nafter\n"
    once = tables.replace_block(page, "x", "| new |")
    assert once == page.replace("old", "| new |")
    assert tables.replace_block(once, "x", "| new |") == once


@pytest.mark.parametrize("page", ["", "<!-- begin x: written by make fmt -->", "<!-- end x -->" * 2])
def test_a_page_without_a_place_for_its_table_is_an_error(page):
    with pytest.raises(ValueError, match="begin x"):
        tables.replace_block(page, "x", "")
