"""The examples of the runtimes' READMEs work as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from alga_extension import Request, answer, mock_host

from gateway.cli.build import build_guest
from runner.sandbox.pool import PoolOptions
from tests.runner.sandbox.driving import Driver, compiled, running_pool
from tests.runner.sdk.building import EXAMPLES, SDK, WIT, Guest


def example(language: str, readme: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", (SDK / readme).read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_the_python_example_reads_what_it_wrote() -> None:
    names: dict[str, Any] = {}
    exec(compile(example("python", "python/README.md"), "README.md", "exec"), names)
    router, host = names["router"], mock_host()
    assert answer(router, Request("GET", "/notes/1"), host).status == 404
    assert answer(router, Request("PUT", "/notes/1", body=b'{"a": "b"}'), host).status == 204
    told = answer(router, Request("GET", "/notes/1"), host)
    assert (told.status, told.json()) == (200, {"a": "b"})
    assert answer(router, Request("PUT", "/notes/1", body=b"{"), host).status == 400
    assert host.recorded.logs == []


@pytest.mark.guests
@pytest.mark.slow
async def test_the_javascript_example_becomes_a_component_that_answers(tmp_path: Path) -> None:
    project = tmp_path / "guest"
    (project / "src").mkdir(parents=True)
    (project / "src" / "handler.js").write_text(example("js", "js/README.md"))
    (project / "manifest.json").write_text("{}")
    (project / "package.json").write_text('{"alga": {"engine": "quickjs", "runtime": true}}')
    (project / "node_modules").symlink_to(EXAMPLES / "node_modules")
    component = build_guest(project, tmp_path / "out", wit=WIT, log=lambda _line: None)
    async with running_pool(PoolOptions(sandbox_max=2, idle_max=1)) as pool:
        told, _ = await Guest(Driver(pool, compiled(component))).answer("/notes/1")
    assert told.status == 405
    assert ("allow", "GET, PUT") in told.headers
