"""Installs a project's JavaScript toolchain into the project, with the npm that comes with Node.js.

Packages are taken by the lock file's hashes where there is one, and their install scripts are not run: a toolchain
needs none, and nothing should run on an author's machine because a package was named.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from gateway.cli.failures import CliError
from gateway.cli.terminal import Terminal
from gateway.cli.toolchains import find_node
from shared.limits import BUILD_OUTPUT_TAIL_BYTES, NPM_INSTALL_MAX_S

_QUIET: Final = ("--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error", "--ignore-scripts")


def install_toolchain(project: Path, terminal: Terminal) -> None:
    """Run `npm install` in `project`.

    Not `npm ci`: it refuses a lock that lacks the optional packages of other platforms. `--no-save` keeps to the lock.

    Raises:
        CliError: there is no npm, or it failed; its own words are the details.
        ToolMissingError: there is no Node.js.
    """
    command = [
        *npm_command(),
        "install",
        *(["--no-save"] if (project / "package-lock.json").is_file() else []),
        *_QUIET,
    ]
    with terminal.working("installing the JavaScript toolchain (npm install, once for this project)"):
        try:
            done = subprocess.run(  # noqa: S603 - the author's own npm, in the author's own project
                command,
                cwd=project,
                env={**os.environ, "NO_COLOR": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=NPM_INSTALL_MAX_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise _failed(f"npm install was not done after {NPM_INSTALL_MAX_S} s", error.stdout or b"") from error
    if done.returncode != 0:
        raise _failed(f"npm install failed with status {done.returncode}", done.stdout)


def npm_command() -> list[str]:
    """`npm` of the search path, else the one that lies beside a Node.js from a Python wheel."""
    found = shutil.which("npm")
    if found is not None:
        return [found]
    node = find_node()
    script = node.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if not script.is_file():
        raise CliError(
            f"there is no npm on the PATH and none beside {node}",
            next_step="install npm, or Node.js together with it",
            code="cli_tool_missing",
        )
    return [str(node), str(script)]


def _failed(what: str, output: bytes) -> CliError:
    tail = output[-BUILD_OUTPUT_TAIL_BYTES:].decode("utf-8", "replace").strip()
    return CliError(
        what,
        next_step="correct package.json or the connection to the package registry, then build again",
        code="cli_tool_missing",
        details=tuple(tail.splitlines()),
        members={"output": tail},
    )
