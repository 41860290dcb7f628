"""The settings schema in a manifest: sound settings are plain JSON Schema, contradictory ones are refused."""

from __future__ import annotations

import pytest
from jsonschema import Draft202012Validator

from tests.shared.manifests import SMALL, parse, violations

# ---- config -------------------------------------------------------------------------------------------------


CONFIG_REFUSED = [
    ("$.config.required[0]", "config_required", {"required": ["b"]}, {"type": "string"}),
    ("$.config.properties.a.default", "config_default", {}, {"type": "integer", "default": "1"}),
    ("$.config.properties.a.default", "config_default", {}, {"type": "integer", "default": True}),
    ("$.config.properties.a.default", "config_default", {}, {"type": "integer", "default": 6, "maximum": 5}),
    ("$.config.properties.a.default", "config_default", {}, {"type": "number", "default": 5, "exclusiveMaximum": 5}),
    ("$.config.properties.a.default", "config_default", {}, {"type": "string", "default": "c", "enum": ["a", "b"]}),
    ("$.config.properties.a.default", "config_default", {}, {"type": "string", "default": "abc", "maxLength": 2}),
    ("$.config.properties.a.default", "config_default", {}, {"type": "string", "default": "x", "pattern": "^[0-9]$"}),
    ("$.config.properties.a.enum", "config_enum", {}, {"type": "string", "enum": ["a", 1]}),
    ("$.config.properties.a.minimum", "config_minimum", {}, {"type": "integer", "minimum": 2, "maximum": 1}),
    ("$.config.properties.a.minimum", "config_minimum", {}, {"type": "string", "minimum": 2}),
    ("$.config.properties.a.maxLength", "config_maxLength", {}, {"type": "integer", "maxLength": 2}),
    ("$.config.properties.a.pattern", "config_pattern", {}, {"type": "string", "pattern": "^(a+)+$"}),
    ("$.config.properties.a.pattern", "config_pattern", {}, {"type": "string", "pattern": "a*"}),
    ("$.config.properties.a.pattern", "config_pattern", {}, {"type": "string", "pattern": "^a*a*a*$"}),
    ("$.config.properties.a.pattern", "config_pattern", {}, {"type": "string", "pattern": "^a|b$"}),
    ("$.config.properties.a.pattern", "config_pattern", {}, {"type": "string", "pattern": "^\\1$"}),
    ("$.config.properties.a.pattern", "config_pattern", {}, {"type": "string", "pattern": "^[z-a]$"}),
    ("$.config.properties.a.pattern", "config_pattern", {}, {"type": "string", "pattern": "^[[a]]$"}),
    ("$.config.properties.a.pattern", "config_pattern", {}, {"type": "string", "pattern": "^[a--b]$"}),
    ("$.config.properties.a.pattern", "config_pattern", {}, {"type": "string", "pattern": "^a*+$"}),
]


@pytest.mark.parametrize(("path", "code", "more", "setting"), CONFIG_REFUSED)
def test_a_setting_that_contradicts_itself_is_refused(path, code, more, setting):
    config = {"type": "object", "properties": {"a": setting}} | more
    assert list(violations(SMALL | {"config": config})) == [(path, code)]


@pytest.mark.parametrize(
    "setting",
    [
        {"type": "boolean", "default": False},
        {"type": "number", "default": 1, "minimum": 0.5, "multipleOf": 0.5},
        {"type": "string", "format": "uri", "writeOnly": True, "examples": ["https://a.example"]},
        {"type": "string", "pattern": "^[^/\\]]{1,20}\\.[a-z]+$"},
        {"type": "integer", "enum": [1, 2, 3], "default": 2},
    ],
)
def test_a_sound_setting_is_accepted_and_is_itself_a_json_schema(setting):
    config = {"type": "object", "properties": {"a": setting}}
    written = parse(SMALL | {"config": config}).config_schema()
    assert written == config
    Draft202012Validator.check_schema(written)


def test_a_manifest_without_settings_has_no_config_schema():
    assert parse(SMALL).config_schema() is None
