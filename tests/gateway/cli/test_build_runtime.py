"""What a build adds to a project: the platform's runtime where it is asked for, and the world its guest needs.

The JavaScript driver runs for real; in place of the toolchain stands a module that tells what it was given.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import build
from gateway.cli.build import build_guest, source_digest
from gateway.cli.toolchains import BuildError

WIT = Path(__file__).parents[3] / "shared" / "wit"
ASKING = '{"type": "module", "alga": {"engine": "quickjs", "runtime": true}}'
TELLING = """
import { readFile, readdir } from 'node:fs/promises';
export const componentize = async ({ jsPath, moduleRoot, witPath, world }) => {
  const files = (await readdir(moduleRoot, { recursive: true })).sort();
  const wit = (await readdir(witPath)).filter((name) => name.includes('random'));
  throw new Error(JSON.stringify({ files, wit, world, source: await readFile(jsPath, 'utf8'), cwd: process.cwd() === moduleRoot }));
};
"""


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def quickjs_project(root: Path, files: dict[str, str] | None = None) -> Path:
    """A project whose installed "componentize-qjs" tells what it was given."""
    own = {
        "package.json": '{"type": "module", "alga": {"engine": "quickjs"}}',
        "manifest.json": "{}",
        "src/handler.js": "export function handler() {}",
        "node_modules/componentize-qjs/package.json": '{"version": "0.4.3", "type": "module"}',
        "node_modules/componentize-qjs/index.js": TELLING,
    }
    return write(root, own | (files or {}))


def tree(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def runtime(root: Path) -> Path:
    """A runtime with code, types and texts."""
    return write(root, {"src/index.js": "1", "src/index.d.ts": "1", "package.json": "1", "alga_extension/x.py": "1"})


def test_the_runtimes_code_counts_where_a_guest_is_built_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = runtime(tmp_path / "runtime")
    monkeypatch.setattr(build, "JS_RUNTIME", source)
    monkeypatch.setattr(build, "PYTHON_RUNTIME", source)
    asking = quickjs_project(tmp_path / "asking", {"package.json": ASKING})
    projects = [asking, quickjs_project(tmp_path / "bare"), write(tmp_path / "python", {"app.py": ""})]
    before = [source_digest(project, WIT) for project in projects]
    write(source, {"src/index.d.ts": "2", "package.json": "2", "README.md": "2"})
    assert [source_digest(project, WIT) for project in projects] == before
    write(source, {"src/index.js": "2"})
    changed = [source_digest(project, WIT) != digest for project, digest in zip(projects, before, strict=True)]
    assert changed == [True, False, True]


def told(project: Path, out: Path, wit: Path = WIT) -> dict[str, Any]:
    """What the toolchain was given."""
    with pytest.raises(BuildError) as failed:
        build_guest(project, out, wit=wit, log=lambda _line: None)
    found = re.search(r"Error: (\{.*\})", failed.value.tail)
    assert found is not None, failed.value.tail
    parsed: dict[str, Any] = json.loads(found[1])
    return parsed


def test_a_project_that_asks_for_the_runtime_is_built_in_a_copy_that_has_it(tmp_path: Path) -> None:
    project = quickjs_project(tmp_path / "sample", {"package.json": ASKING})
    before = tree(project)
    seen = told(project, tmp_path / "out")
    assert {"src/handler.js", "vendor/extension-runtime/src/index.js", "package.json"} <= set(seen["files"])
    assert not [name for name in seen["files"] if name.endswith((".d.ts", ".md")) or "node_modules" in name]
    assert seen["cwd"]
    assert seen["source"] == "export function handler() {}"
    assert tree(project) == before


def test_a_project_that_does_not_ask_is_built_where_it_is(tmp_path: Path) -> None:
    seen = told(quickjs_project(tmp_path / "sample"), tmp_path / "out")
    assert not [name for name in seen["files"] if name.startswith("vendor")]


def test_a_runtime_of_the_projects_own_and_a_wish_for_another_contradict_each_other(tmp_path: Path) -> None:
    files = {"package.json": ASKING, "vendor/extension-runtime/src/index.js": ""}
    with pytest.raises(BuildError, match="asks for another one"):
        build_guest(quickjs_project(tmp_path / "sample", files), tmp_path / "out", wit=WIT, log=lambda _line: None)


RANDOM = "import { getRandomBytes } from 'wasi:random/random@0.2.0';"


@pytest.mark.parametrize(
    ("files", "world"),
    [
        ({"src/handler.js": RANDOM}, "runner-with-random"),
        (
            {"src/handler.js": RANDOM.replace(" ", "").replace("'", '"').replace("import", "import ")},
            "runner-with-random",
        ),
        (
            {"src/handler.js": "import './a.js';", "src/a.js": "export * from '../b.js';", "b.js": RANDOM},
            "runner-with-random",
        ),
        ({"src/handler.js": "import './a.js';", "src/a.js": "import './handler.js';"}, "runner"),
        ({"src/handler.js": "import './absent.js';", "src/unused.js": RANDOM}, "runner"),
    ],
)
def test_a_guest_that_imports_the_hosts_randomness_gets_it_into_its_world(
    tmp_path: Path, files: dict[str, str], world: str
) -> None:
    seen = told(quickjs_project(tmp_path / "sample", files), tmp_path / "out")
    assert (seen["world"], seen["wit"]) == (world, [f"{world}.wit"] if world != "runner" else [])


def test_a_world_that_has_the_hosts_randomness_is_taken_as_it_is(tmp_path: Path) -> None:
    wit = write(tmp_path / "wit", {"world.wit": "world runner { import wasi:random/random@0.2.0; }"})
    project = quickjs_project(tmp_path / "sample", {"src/handler.js": RANDOM})
    assert told(project, tmp_path / "out", wit)["world"] == "runner"
