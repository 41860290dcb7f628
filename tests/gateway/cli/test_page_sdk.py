"""A page that imports the iframe SDK gets it when it is built, and a project's own copy stays its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli import page_sdk
from gateway.cli.build import copy_bundle_files, source_digest
from gateway.cli.toolchains import BuildError

ROOT = Path(__file__).parents[3]
WIT = ROOT / "shared" / "wit"
IMPORT = "import { createBridge } from './alga-iframe-sdk.js';\n"


def project(root: Path, **pages: str) -> Path:
    """A project whose `ui/` holds these files; `__` in a name is a slash, `_` a dot."""
    for name, text in {
        "manifest_json": "{}",
        "app_py": "",
        **{f"ui__{name}": text for name, text in pages.items()},
    }.items():
        path = root / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def built(root: Path, out: Path) -> set[str]:
    copy_bundle_files(root, out)
    return {path.relative_to(out / "ui").as_posix() for path in (out / "ui").rglob("*") if path.is_file()}


def test_the_sdk_stands_beside_each_file_that_imports_it(tmp_path: Path) -> None:
    root = project(tmp_path / "p", app_js=IMPORT, views__a_html=f"<script>{IMPORT}</script>", other_js="")
    assert built(root, tmp_path / "out") == {
        "app.js", "alga-iframe-sdk.js", "views/a.html", "views/alga-iframe-sdk.js", "other.js"
    }  # fmt: skip
    assert (tmp_path / "out" / "ui" / page_sdk.NAME).read_bytes() == page_sdk.sdk()
    assert not (root / "ui" / page_sdk.NAME).exists()


def test_a_project_that_does_not_import_it_gets_nothing(tmp_path: Path) -> None:
    root = project(tmp_path / "p", app_js="// alga-iframe-sdk.js", note_txt=IMPORT)
    assert built(root, tmp_path / "out") == {"app.js", "note.txt"}


def test_a_projects_own_file_stays(tmp_path: Path) -> None:
    root = project(tmp_path / "p", app_js=IMPORT)
    (root / "ui" / page_sdk.NAME).write_text("// mine")
    built(root, tmp_path / "out")
    assert (tmp_path / "out" / "ui" / page_sdk.NAME).read_text() == "// mine"


def test_building_in_place_puts_it_into_the_project(tmp_path: Path) -> None:
    root = project(tmp_path / "p", app_js=IMPORT)
    assert built(root, root) == {"app.js", page_sdk.NAME}


def test_a_new_sdk_is_a_new_build_where_it_is_used_and_only_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    using, plain = project(tmp_path / "a", app_js=IMPORT), project(tmp_path / "b", app_js="")
    before = [source_digest(one, WIT) for one in (using, plain)]
    without = source_digest(using, WIT, without=("ui",))
    monkeypatch.setattr(page_sdk, "sdk", lambda: b"// newer")
    after = [source_digest(one, WIT) for one in (using, plain)]
    assert before[0] != after[0]
    assert before[1] == after[1]
    assert source_digest(using, WIT, without=("ui",)) == without


def test_an_installation_without_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_sdk, "files", lambda _package: tmp_path)
    with pytest.raises(BuildError, match="make venv"):
        page_sdk.sdk()
