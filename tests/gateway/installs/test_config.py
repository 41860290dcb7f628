"""Settings of an install: what its manifest allows, completed by its defaults."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.installs.config import checked
from shared.errors import InvalidRequest
from shared.limits import INSTALL_CONFIG_MAX_BYTES
from shared.manifest import Manifest, parse_manifest
from tests.gateway.bundles import bundle

SCHEMA = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "enum": ["emea", "apac"], "default": "emea"},
        "retries": {"type": "integer", "minimum": 0, "maximum": 5, "default": 3},
        "contact": {"type": "string", "format": "email"},
        "dry": {"type": "boolean"},
    },
    "required": ["contact"],
    "additionalProperties": False,
}


def manifest(config: Any = None) -> Manifest:
    members = {} if config is None else {"config": config}
    return parse_manifest(msgspec.json.encode(bundle(**members).manifest))


def test_what_is_left_out_gets_its_default() -> None:
    assert checked(manifest(SCHEMA), {"contact": "ada@acme.example"}) == {
        "region": "emea",
        "retries": 3,
        "contact": "ada@acme.example",
    }


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({}, "$"),
        ({"contact": "nobody"}, "$.contact"),
        ({"contact": "a@b.example", "region": "moon"}, "$.region"),
        ({"contact": "a@b.example", "retries": 6}, "$.retries"),
        ({"contact": "a@b.example", "retries": "3"}, "$.retries"),
        ({"contact": "a@b.example", "dry": 1}, "$.dry"),
        ({"contact": "a@b.example", "more": "x"}, "$"),
    ],
)
def test_what_the_schema_does_not_allow_is_refused_with_its_path(given: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        checked(manifest(SCHEMA), given)
    assert refused.value.extra["path"] == path


def test_everything_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(InvalidRequest) as refused:
        checked(manifest(SCHEMA), {"contact": "nobody", "region": "moon"})
    assert [one["path"] for one in refused.value.extra["violations"]] == ["$.contact", "$.region"]


def test_without_a_schema_any_scalars_are_settings() -> None:
    given: dict[str, Any] = {"a": "x", "b": 1, "c": 1.5, "d": True}
    assert checked(manifest(), given) == given


@pytest.mark.parametrize(("size", "ok"), [(0, True), (1, False)])
def test_settings_are_as_large_as_the_limit_and_no_larger(size: int, ok: bool) -> None:
    text = "x" * (INSTALL_CONFIG_MAX_BYTES - len('{"a":""}') + size)
    if ok:
        assert checked(manifest(), {"a": text}) == {"a": text}
    else:
        with pytest.raises(InvalidRequest, match="bytes as JSON"):
            checked(manifest(), {"a": text})
