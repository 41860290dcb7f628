"""A component is built when something it depends on has changed, and only then."""

from __future__ import annotations

import json

import pytest

from gateway.cli.failures import CliError
from gateway.cli.incremental import build_project, stale
from gateway.cli.npm import install_toolchain
from gateway.cli.project import open_project
from gateway.cli.terminal import Terminal
from tests.gateway.cli.projects import manifest, pages_only, with_guest, write


@pytest.fixture
def quiet():
    return Terminal(json=True)


@pytest.fixture
def folder(tmp_path):
    return with_guest(tmp_path / "notes")


def build(folder, terminal, **options):
    return build_project(open_project(folder), terminal, **options)


def test_the_first_build_makes_the_component(folder, quiet):
    built = build(folder, quiet)
    assert (built.component, built.up_to_date, built.toolchain) == ("dist/main.wasm", False, "componentize-qjs 0.4.3")
    assert (folder / "dist/main.wasm").stat().st_size == built.size_bytes


def test_the_second_build_does_nothing(folder, quiet):
    built = build(folder, quiet)
    before = (folder / "dist/main.wasm").stat().st_mtime_ns
    again = build(folder, quiet)
    assert again.up_to_date
    assert again.component_sha256 == built.component_sha256
    assert (folder / "dist/main.wasm").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "files",
    [
        {"src/handler.js": "export function handler() { return 1 }"},
        {"vendor/a.js": ""},
        {"package.json": '{"type": "module", "alga": {"engine": "quickjs"}, "private": true}'},
        {"manifest.json": json.dumps(manifest(capabilities=["cap:http.fetch"]))},
        {"dist/main.wasm": "somebody else's"},
    ],
)
def test_what_the_component_depends_on_is_built_again(folder, quiet, files):
    build(folder, quiet)
    assert not build(write(folder, files), quiet).up_to_date


@pytest.mark.parametrize(
    "files",
    [
        {"ui/index.html": "<!doctype html><p>"},
        {"tests/a.test.js": ""},
        {"README.md": "# changed"},
        {"manifest.json": json.dumps(manifest(version="1.0.1"))},
    ],
)
def test_what_is_no_part_of_it_is_not(folder, quiet, files):
    build(folder, quiet)
    assert build(write(folder, files), quiet).up_to_date


def test_it_can_be_asked_for_anyway(folder, quiet):
    build(folder, quiet)
    assert not build(folder, quiet, force=True).up_to_date


def test_a_component_of_other_sources_is_stale(folder, quiet):
    assert not stale(open_project(folder))
    build(folder, quiet)
    assert not stale(open_project(folder))
    write(folder, {"src/handler.js": "export const handler = null"})
    assert stale(open_project(folder))


def test_pages_alone_need_no_build(tmp_path, quiet):
    assert build(pages_only(tmp_path), quiet).component is None


def test_pages_get_the_bridge_they_import_and_keep_their_own(tmp_path, quiet):
    folder = write(pages_only(tmp_path), {"ui/app.js": "import './alga-iframe-sdk.js';"})
    build(folder, quiet)
    assert "createBridge" in (folder / "ui/alga-iframe-sdk.js").read_text()
    (folder / "ui/alga-iframe-sdk.js").write_text("// mine")
    build(folder, quiet)
    assert (folder / "ui/alga-iframe-sdk.js").read_text() == "// mine"


def test_endpoints_without_a_guest_are_an_error(tmp_path, quiet):
    pages_only(tmp_path, api={"endpoints": [{"method": "GET", "path": "/hello"}]})
    with pytest.raises(CliError, match="no guest to build") as failed:
        build(tmp_path, quiet)
    assert failed.value.code == "cli_build_failed"


def test_an_entry_that_no_build_writes_is_an_error(tmp_path, quiet):
    with pytest.raises(CliError, match=r"a build writes dist/main\.wasm"):
        build(with_guest(tmp_path, entry="dist/other.wasm"), quiet)


def test_a_failed_build_carries_the_toolchains_words(tmp_path, quiet):
    folder = with_guest(tmp_path, "export const componentize = async () => { throw new Error('line 3') };")
    with pytest.raises(CliError, match="the toolchain failed") as failed:
        build(folder, quiet)
    assert any("line 3" in line for line in failed.value.details)
    assert "line 3" in failed.value.document()["output"]


def test_an_import_without_its_capability_is_explained(tmp_path, quiet):
    folder = with_guest(tmp_path, "export const componentize = () => { throw new Error('alga:extension/secrets') };")
    with pytest.raises(CliError) as failed:
        build(folder, quiet)
    assert failed.value.details[-1].endswith("list cap:secrets.get under `capabilities` in manifest.json")


# ---- npm --------------------------------------------------------------------------------------------------------

FAKE_NPM = """#!/bin/sh
echo "$@" > arguments
[ -n "$FAIL" ] && { echo 'npm error ERESOLVE'; exit 1; }
mkdir -p node_modules/componentize-qjs
cp "$TOOLCHAIN"/* node_modules/componentize-qjs/
"""


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """An npm that notes its arguments and puts the toolchain where it belongs."""
    made = with_guest(tmp_path / "made")
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(FAKE_NPM)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{'/usr/bin:/bin'}", prepend=None)
    monkeypatch.setenv("TOOLCHAIN", str(made / "node_modules/componentize-qjs"))
    return monkeypatch


def without_toolchain(folder):
    for name in ("package.json", "index.js"):
        (folder / "node_modules/componentize-qjs" / name).unlink()
    return folder


def test_a_missing_toolchain_is_installed_into_the_project(folder, quiet, npm):
    build(without_toolchain(folder), quiet)
    words = (folder / "arguments").read_text().split()
    assert words[0] == "install"
    assert "--ignore-scripts" in words
    assert "--no-save" not in words


def test_a_lock_is_kept_to(folder, quiet, npm):
    install_toolchain(write(folder, {"package-lock.json": "{}"}), quiet)
    assert "--no-save" in (folder / "arguments").read_text().split()


def test_a_failed_installation_carries_npms_words(folder, quiet, npm):
    npm.setenv("FAIL", "1")
    with pytest.raises(CliError, match="npm install failed with status 1") as failed:
        build(without_toolchain(folder), quiet)
    assert failed.value.details == ("npm error ERESOLVE",)
    assert failed.value.code == "cli_tool_missing"


def test_a_toolchain_that_is_there_is_not_installed(folder, quiet, npm):
    build(folder, quiet)
    assert not (folder / "arguments").exists()
