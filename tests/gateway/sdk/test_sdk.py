"""The JavaScript packages: their own tests pass, they are small, and carry types and nothing else.

The tests themselves are the `*.test.mjs` files beside this one, run by Node's own test runner over what was built.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.toolchains import find_node

HERE = Path(__file__).parent
SDK = HERE.parents[2] / "gateway" / "sdk"
PACKAGES = ("host", "iframe-sdk")
IFRAME_SDK_MAX_BYTES = 6 * 1024  # gzip; it is loaded with each extension's page
RUN_MAX_S = 60

each_package = pytest.mark.parametrize("package", PACKAGES)


def described(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("file", sorted(HERE.glob("*.test.mjs")), ids=lambda path: path.name.removesuffix(".test.mjs"))
def test_the_javascript_tests_pass(file: Path) -> None:
    command = [find_node(), "--test", "--test-reporter=tap", file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=RUN_MAX_S, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    assert re.search(r"^# pass [1-9]", done.stdout, re.MULTILINE)


def test_the_iframe_sdk_is_at_most_six_kibibytes() -> None:
    assert len(gzip.compress((SDK / "iframe-sdk" / "dist" / "index.js").read_bytes(), 9)) <= IFRAME_SDK_MAX_BYTES


@each_package
def test_a_package_stands_alone(package: str) -> None:
    built = (SDK / package / "dist" / "index.js").read_text(encoding="utf-8")
    assert re.search(r"\b(?:import|require)\s*[({'\"]", built) is None
    assert not {"dependencies", "peerDependencies"} & set(described(SDK / package / "package.json"))


@each_package
def test_a_package_ships_its_types(package: str) -> None:
    names = described(SDK / package / "package.json")
    types = SDK / package / names["exports"]["."]["types"]
    assert names["types"] == names["exports"]["."]["types"]
    public = "buildExtUiSrc" if package == "host" else "createBridge"
    assert public in types.read_text(encoding="utf-8")
    for path in re.findall(r"from '(\.[^']+)\.js'", types.read_text(encoding="utf-8")):
        assert (types.parent / f"{path}.d.ts").is_file(), path


def test_the_lock_file_names_versions_and_digests_and_no_registry() -> None:
    text = (SDK / "package-lock.json").read_text(encoding="utf-8")
    assert "://" not in text
    locked = json.loads(text)["packages"]
    for name, version in described(SDK / "package.json")["devDependencies"].items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
        assert locked[f"node_modules/{name}"]["version"] == version
    assert all(
        "integrity" in entry for path, entry in locked.items() if "node_modules/" in path and "link" not in entry
    )
