"""Everything that is wrong with a project is said at once, as publishing would judge it."""

from __future__ import annotations

import json

import pytest

from gateway.cli import checking
from gateway.cli.checking import check_project
from gateway.cli.failures import CliError
from shared.limits import BUNDLE_MAX_FILES
from tests.gateway.cli.projects import manifest, pages_only, write
from tests.shared.components import compiled, wat

HTTP = '(import "alga:extension/http" (instance))'
RANDOM = '(import "wasi:random/random@0.2.0" (instance))'
ENDPOINT = {"api": {"endpoints": [{"method": "GET", "path": "/hello"}]}}


def check(folder, **options):
    return check_project(folder, **{"allow_unused_imports": False, **options})


def codes(report):
    return {(problem.severity, problem.code, problem.path) for problem in report.problems}


@pytest.fixture
def project(tmp_path):
    return pages_only(tmp_path / "project")


def with_component(folder, text):
    (folder / "dist").mkdir(exist_ok=True)
    compiled(folder / "dist", text)
    return folder


def test_a_project_in_order_has_no_problems(project):
    report = check(project)
    assert (report.ok, report.problems, report.files, report.name) == (True, (), 2, "local.notes")


def test_a_folder_without_a_manifest_is_an_error(tmp_path):
    with pytest.raises(CliError) as failed:
        check(tmp_path)
    assert failed.value.code == "cli_no_project"
    assert "alga-ext new" in failed.value.next_step


def test_manifest_files_and_component_are_judged_at_once(tmp_path):
    folder = pages_only(tmp_path, version="one", limits={"memoryMb": 4096})
    write(folder, {"ui/a.html": "<script>x</script>", "ui/A.HTML": "", "dist/main.wasm": "no component"})
    assert codes(check(folder)) == {
        ("error", "format", "$.version"),
        ("error", "range", "$.limits.memoryMb"),
        ("error", "bundle_invalid", "ui/a.html"),
        ("error", "component_invalid", "dist/main.wasm"),
        ("warning", "page_blocked", "ui/a.html"),
    }


def test_errors_stand_before_warnings(tmp_path):
    folder = write(pages_only(tmp_path, icon="ui/none.svg"), {"ui/a.html": "<script>x</script>"})
    assert [problem.severity for problem in check(folder).problems] == ["error", "warning"]


def test_a_handler_that_was_not_built_is_missing(tmp_path):
    report = check(pages_only(tmp_path, **ENDPOINT))
    assert codes(report) == {("error", "file_missing", "$.entry")}


def test_an_asset_that_is_named_and_not_there_is_missing(tmp_path):
    report = check(pages_only(tmp_path, icon="ui/icon.svg", assets=["ui/*.css"]))
    assert codes(report) == {("error", "file_missing", "$.icon"), ("error", "file_missing", "$.assets[0]")}


def test_a_link_is_no_file_of_a_bundle(project):
    (project / "ui/link.html").symlink_to("index.html")
    (project / "ui/folder").symlink_to("/etc")
    assert codes(check(project)) >= {
        ("error", "bundle_invalid", "ui/link.html"),
        ("error", "bundle_invalid", "ui/folder"),
    }


@pytest.mark.parametrize(("size", "ok"), [(99, True), (100, True), (101, False)])
def test_a_file_over_the_limit_is_named(project, monkeypatch, size, ok):
    monkeypatch.setattr(checking, "member_max_bytes", lambda _name: 100)
    write(project, {"ui/big.txt": "x" * size, "manifest.json": json.dumps(manifest(), separators=(",", ":"))})
    found = [problem for problem in check(project).problems if problem.path == "ui/big.txt"]
    assert (found == []) is ok


@pytest.mark.parametrize(("extra", "ok"), [(-1, True), (0, True), (1, False)])
def test_too_many_files_are_counted(project, monkeypatch, extra, ok):
    monkeypatch.setattr(checking, "BUNDLE_MAX_FILES", 10)
    write(project, {f"ui/{number}.txt": "" for number in range(8 + extra)})
    assert (("error", "bundle_limits", ".") not in codes(check(project))) is ok
    assert BUNDLE_MAX_FILES == 10_000


@pytest.mark.parametrize(("most", "ok"), [(1000, True), (10, False)])
def test_what_unpacks_to_too_much_is_refused(project, monkeypatch, most, ok):
    monkeypatch.setattr(checking, "BUNDLE_UNPACKED_MAX_BYTES", most)
    assert check(project).ok is ok


def test_what_only_packing_finds_is_found(project):
    write(project, {"ui/zeros.txt": "\0" * 4_000_000})
    assert codes(check(project)) == {("error", "bundle_limits", ".")}
    assert check(project, try_packing=False).ok


# ---- the component ----------------------------------------------------------------------------------------------


def test_an_import_needs_its_capability_or_is_allowed_unused(tmp_path):
    folder = with_component(pages_only(tmp_path), wat(imports=HTTP + RANDOM))
    report = check(folder)
    assert codes(report) == {("error", "capability_undeclared", "$.capabilities")}
    allowed = check(folder, allow_unused_imports=True)
    assert allowed.ok
    assert codes(allowed) == {("warning", "capabilities_differ", "$.capabilities")}


def test_a_declared_import_is_in_order(tmp_path):
    folder = with_component(pages_only(tmp_path, capabilities=["cap:http.fetch"]), wat(imports=HTTP + RANDOM))
    assert check(folder).problems == ()


def test_a_capability_nobody_uses_is_a_warning(tmp_path):
    folder = with_component(pages_only(tmp_path, capabilities=["cap:http.fetch"]), wat(imports=RANDOM))
    assert codes(check(folder)) == {("warning", "capabilities_differ", "$.capabilities")}


def test_a_component_without_randomness_is_a_warning(project):
    with_component(project, wat())
    report = check(project)
    assert report.ok
    assert codes(report) == {("warning", "randomness_frozen", "dist/main.wasm")}
    assert report.component is not None
    assert report.component.imports == ("alga:extension/types",)


def test_too_little_memory_is_said_with_the_place(tmp_path):
    folder = with_component(pages_only(tmp_path, limits={"memoryMb": 16}), wat(imports=RANDOM, pages=17 * 16))
    assert codes(check(folder)) == {("error", "memory_too_small", "$.limits.memoryMb")}
