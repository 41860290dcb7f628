"""Guests whose manifest declares little have a smaller world; the runtimes work with what there is of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from gateway.cli.build import build_guest
from runner.sandbox.pool import PoolOptions
from shared.component import inspect_component
from tests.runner.sandbox.driving import Driver, compiled, running_pool
from tests.runner.sdk.building import EXAMPLES, SDK, WIT, Guest

pytestmark = [pytest.mark.guests, pytest.mark.slow, pytest.mark.timeout(300)]

KEPT = ("context", "logging", "config")
VENDOR = "vendor/extension-runtime/src"

JS = f"""
import * as config from 'alga:extension/config';
import * as logging from 'alga:extension/logging';
import {{ bindHost, createHandler, jsonResponse }} from '../{VENDOR}/index.js';

export const handler = createHandler((_request, host) => {{
  let absent;
  try {{
    host.storage.get('n', 'k');
  }} catch (error) {{
    absent = error.message;
  }}
  return jsonResponse({{ region: host.config.get('region'), absent }});
}}, bindHost({{ config, logging }}));
"""

PYTHON = """
import alga_extension
from alga_extension import entry, json_response


def handler(_request, host):
    try:
        host.storage.get("n", "k")
    except RuntimeError as error:
        absent = str(error)
    return json_response({"region": host.config.get("region"), "absent": absent, "own": alga_extension.OWN})


WitWorld = entry(handler)
"""


@pytest.fixture
def wit(tmp_path: Path) -> Path:
    """The world with only a few of its interfaces, as `alga-ext` derives it from a manifest."""
    folder = shutil.copytree(WIT, tmp_path / "wit")
    world = folder / "world.wit"
    lines = world.read_text().splitlines(keepends=True)
    kept = {f"import {name};" for name in KEPT}
    world.write_text("".join(line for line in lines if not line.strip().startswith("import ") or line.strip() in kept))
    return folder


async def told(component: Path) -> dict[str, str]:
    async with running_pool(PoolOptions(sandbox_max=2, idle_max=1)) as pool:
        answer: dict[str, str] = await Guest(Driver(pool, compiled(component))).json("/")
        return answer


async def test_a_javascript_guest_binds_what_its_world_has(tmp_path: Path, wit: Path) -> None:
    project = tmp_path / "guest"
    (project / "src").mkdir(parents=True)
    (project / "src" / "handler.js").write_text(JS)
    (project / "manifest.json").write_text("{}")
    (project / "package.json").write_text('{"alga": {"engine": "quickjs"}}')
    (project / "node_modules").symlink_to(EXAMPLES / "node_modules")
    shutil.copytree(SDK / "js" / "src", project / VENDOR)  # as a project has it that carries its own copy
    component = build_guest(project, tmp_path / "out", wit=wit, log=lambda _line: None)
    imports = inspect_component(component, timeout_s=60).imports
    assert {name.partition("/")[2] for name in imports if name.startswith("alga:")} == {*KEPT, "types"}
    assert not [name for name in imports if name.startswith("wasi:random/random@")]  # no prelude, no fresh numbers
    answer = await told(component)
    assert answer["region"] == "emea"
    assert "alga:extension/storage" in answer["absent"]


async def test_a_python_guest_with_its_own_copy_binds_what_its_world_has(tmp_path: Path, wit: Path) -> None:
    project = tmp_path / "guest"
    package = shutil.copytree(SDK / "python" / "alga_extension", project / "vendor" / "alga_extension")
    with (package / "__init__.py").open("a") as file:
        file.write("OWN = 'own'\n")
    (project / "app.py").write_text(PYTHON)
    (project / "manifest.json").write_text(json.dumps({}))
    component = build_guest(project, tmp_path / "out", wit=wit, log=lambda _line: None)
    imports = inspect_component(component, timeout_s=60).imports
    assert "alga:extension/storage" not in imports
    answer = await told(component)
    assert (answer["region"], answer["own"]) == ("emea", "own")
    assert "alga:extension/storage is not in this guest's world" in answer["absent"]
