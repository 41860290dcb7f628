"""new: projects whose files are in order, whose names are the author's, and that are there whole or not at all."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.cli import page_sdk, scaffold
from gateway.cli.checking import check_project
from gateway.cli.failures import CliError
from gateway.cli.pages import blocked_in
from gateway.cli.scaffold import Names, make, names
from gateway.cli.toolchains import BuildError, Engine, find_guest

ROOT = Path(__file__).parents[3]
TEMPLATES = ("python", "js", "ui-only")
EXAMPLES = json.loads((ROOT / "tests/examples/package.json").read_text())
every_template = pytest.mark.parametrize("template", TEMPLATES)


@pytest.fixture
def made(tmp_path):
    def project(template):
        if not (tmp_path / template).exists():
            make(template, tmp_path / template, names("hello", "local"))
        return tmp_path / template

    return project


def test_a_plain_name_is_put_below_its_publisher():
    assert names("hello-you", "local") == Names(
        name="local.hello-you", publisher="local", folder="hello-you", title="Hello you"
    )
    assert names("hello", "acme").name == "acme.hello"


def test_a_name_with_dots_is_taken_as_it_is():
    assert names("com.acme.tickets", "acme") == Names(
        name="com.acme.tickets", publisher="acme", folder="tickets", title="Tickets"
    )


@pytest.mark.parametrize("name", ["", "Hello", "a_b", "-a", "a-", "a..b", ".a", "a/b", "..", "x" * 200, "hällo"])
def test_what_no_manifest_could_be_called_is_refused(name):
    with pytest.raises(CliError, match="no name for an extension"):
        names(name, "local")


@pytest.mark.parametrize("publisher", ["", "Acme", "a.b", "../x"])
def test_what_is_no_publisher_is_refused(publisher):
    with pytest.raises(CliError):
        names("hello", publisher)


@every_template
def test_every_name_is_filled_in(made, template):
    folder = made(template)
    for path in folder.rglob("*"):
        if path.is_file() and "vendor" not in path.parts:
            assert not re.search(r"\{\{\w+\}\}", path.read_text()), path
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["name"], manifest["publisher"]) == ("local.hello", "local")


@every_template
def test_a_project_is_in_order_but_for_the_build(made, template):
    report = check_project(made(template), allow_unused_imports=False)
    expected = set() if template == "ui-only" else {("file_missing", "$.entry")}
    assert {(problem.code, problem.path) for problem in report.problems} == expected


@every_template
def test_a_page_is_accessible_and_runs_under_the_platforms_policy(made, template):
    folder = made(template)
    page = (folder / "ui/index.html").read_text()
    assert '<html lang="en">' in page
    assert re.search(r"<title>Hello</title>", page)
    assert page.count("<h1>") == page.count("<main>") == 1
    assert blocked_in(page) == []
    assert all((folder / "ui" / name).is_file() for name in re.findall(r'(?:src|href)="([^"]*)"', page))


@every_template
def test_a_page_speaks_through_the_bridge_that_comes_along(made, template):
    folder = made(template)
    assert "from './alga-iframe-sdk.js'" in (folder / "ui/app.js").read_text()
    assert "createBridge" in (folder / "ui/alga-iframe-sdk.js").read_text()


@pytest.mark.parametrize(("template", "engine"), [("python", Engine.PYTHON), ("js", Engine.STARLINGMONKEY)])
def test_a_project_names_its_engine(made, template, engine):
    assert find_guest(made(template)).engine is engine


@pytest.mark.parametrize("template", ["python", "js"])
def test_a_project_offers_hello(made, template):
    manifest = json.loads((made(template) / "manifest.json").read_text())
    assert [(one["method"], one["path"]) for one in manifest["api"]["endpoints"]] == [("GET", "/hello")]


@every_template
def test_what_is_made_and_what_is_secret_is_ignored_by_git(made, template):
    ignored = (made(template) / ".gitignore").read_text().split()
    assert {"dist/", "*.pem"} <= set(ignored)


@every_template
def test_the_readme_names_commands_that_exist(made, template):
    from gateway.cli.main import _VERBS

    text = (made(template) / "README.md").read_text()
    used = set(re.findall(r"alga-ext ([a-z]+)", text))
    assert used <= set(_VERBS)
    assert {"check", "keygen", "pack", "sign", "publish", "install"} <= used


def test_the_javascript_toolchain_is_the_tested_one(made):
    package = json.loads((made("js") / "package.json").read_text())
    lock = json.loads((made("js") / "package-lock.json").read_text())["packages"]
    tested = json.loads((ROOT / "tests/examples/package-lock.json").read_text())["packages"]
    for name, version in package["dependencies"].items():
        assert version == EXAMPLES["dependencies"][name] == lock[f"node_modules/{name}"]["version"]
    assert package["overrides"] == EXAMPLES["overrides"]
    assert {name: one for name, one in lock.items() if name}.items() <= tested.items()


def test_the_lock_names_no_registry(made):
    assert '"resolved"' not in (made("js") / "package-lock.json").read_text()


# ---- the projects' own tests ------------------------------------------------------------------------------------


def run(folder, *words):
    path = os.environ.get("PATH", "")
    done = subprocess.run(
        words, check=False, cwd=folder, capture_output=True, text=True, env={"PATH": path}, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_python_projects_tests_pass(made):
    assert re.search(r"Ran [3-9] tests", run(made("python"), sys.executable, "-W", "error", "-m", "unittest"))


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js on the PATH")
def test_the_javascript_projects_tests_pass(made):
    out = run(made("js"), "node", "--test")
    assert re.search(r"pass [3-9]", out)
    assert re.search(r"fail 0", out)


def test_the_python_project_parses_without_this_one():
    for path in (scaffold.HERE / "python").rglob("*.py"):
        tree = ast.parse(path.read_text())
        names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not any(name and name.split(".")[0] in {"gateway", "shared", "runner"} for name in names)


# ---- the verb ---------------------------------------------------------------------------------------------------


def test_the_verb_makes_a_folder_and_says_what_is_next(command, elsewhere):
    ran = command("new", "hello", "--template", "ui-only")
    assert ran.status == 0
    assert (elsewhere / "hello/manifest.json").is_file()
    assert "cd hello && alga-ext build" in ran.err


def test_the_verb_answers_in_json(command, elsewhere):
    told = command("new", "com.acme.tickets", "--publisher", "acme", "--template", "js", "--json").json()
    assert (told["name"], told["directory"], told["template"]) == ("com.acme.tickets", "tickets", "js")
    assert "src/handler.js" in told["files"]


def test_nothing_that_exists_is_overwritten(command, elsewhere):
    (elsewhere / "hello").mkdir()
    (elsewhere / "hello/mine.txt").write_text("mine")
    ran = command("new", "hello", "--json")
    assert (ran.status, ran.json()["code"]) == (1, "cli_exists")
    assert [path.name for path in elsewhere.rglob("*")] == ["hello", "mine.txt"]


def test_an_empty_folder_is_filled(command, elsewhere):
    (elsewhere / "hello").mkdir()
    assert command("new", "hello").status == 0


def test_a_template_that_does_not_exist_is_a_usage_error(command):
    ran = command("new", "hello", "--template", "rust")
    assert ran.status == 2
    assert "ui-only" in ran.err


def test_an_installation_without_the_bridge_says_what_builds_it(command, elsewhere, monkeypatch):
    def absent():
        raise BuildError("it is not there", next_step="make venv")

    monkeypatch.setattr(page_sdk, "sdk", absent)
    ran = command("new", "hello", "--json")
    assert (ran.status, ran.json()["code"]) == (1, "cli_build_failed")
    assert ran.json()["next"] == "make venv"
    assert list(elsewhere.iterdir()) == []


def test_a_failure_leaves_nothing_behind(elsewhere, monkeypatch):
    def broken(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scaffold.shutil, "copytree", broken)
    with pytest.raises(OSError, match="No space"):
        make("python", elsewhere / "hello", names("hello", "local"))
    assert list(elsewhere.iterdir()) == []
