"""deploy/compose.yaml as the tests read it: parsed, with the defaults of its `${NAME:-default}` filled in."""

from __future__ import annotations

import functools
import re
from typing import Any, Final

import yaml

from tests.deploy.manifests import ROOT

PATH: Final = ROOT / "deploy/compose.yaml"
CREDENTIALS: Final = "../.local/compose"
_VARIABLE: Final = re.compile(r"\$\{([A-Z0-9_]+):-([^}]*)\}")


@functools.cache
def _text() -> str:
    text = _VARIABLE.sub(lambda match: match[2], PATH.read_text())
    assert "${" not in text  # each has a default, so that the file works as it is
    return text


def document() -> dict[str, Any]:
    """The whole file."""
    found: dict[str, Any] = yaml.safe_load(_text())
    return found


def service(name: str) -> dict[str, Any]:
    """One service."""
    found: dict[str, Any] = document()["services"][name]
    return found


def variables(role: str) -> dict[str, str]:
    """The environment of one of our services."""
    found: dict[str, str] = service(role)["environment"]
    assert all(isinstance(value, str) for value in found.values())  # a bare 1 or yes is another type in YAML
    return found


def mounts(role: str) -> dict[str, str]:
    """Path in the container → file of `python -m deploy.credentials`, for every file that is mounted."""
    files, found = document()["secrets"], {}
    for secret in service(role).get("secrets", []):
        target = secret["target"]
        path = target if target.startswith("/") else f"/run/secrets/{target}"
        found[path] = files[secret["source"]]["file"].removeprefix(f"{CREDENTIALS}/")
    for volume in service(role).get("volumes", []):
        if volume["type"] == "bind":
            assert volume["read_only"] is True
            folder = volume["source"].removeprefix(f"{CREDENTIALS}/")
            found |= {
                value: f"{folder}/{value.rpartition('/')[2]}"
                for value in variables(role).values()
                if value.startswith(f"{volume['target']}/")
            }
    return found
