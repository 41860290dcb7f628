"""Settings of an install, checked against the JSON Schema of its manifest. Pure.

Values are scalars; a missing one gets its default, so that a guest sees what the administrator saw when saving.
"""

from __future__ import annotations

from typing import Any

import msgspec
from jsonschema import Draft202012Validator

from shared.errors import InvalidRequest
from shared.limits import INSTALL_CONFIG_MAX_BYTES
from shared.manifest import Manifest
from shared.manifest_parts import ConfigSchema, Scalar

Values = dict[str, Scalar]

_VIOLATIONS_MAX = 20  # of one document; a person reads the first few


def checked(manifest: Manifest, given: Values) -> Values:
    """The complete settings.

    Args:
        manifest: whose `config` says what is valid; without one, any scalar settings are.
        given: what the administrator wrote.

    Raises:
        InvalidRequest: `extra["violations"]` lists `{path, message}`; or the settings are too large.
    """
    schema = manifest.config
    values = given if schema is None else {**_defaults(schema), **given}
    if schema is not None:
        _check(schema, values)
    if len(msgspec.json.encode(values)) > INSTALL_CONFIG_MAX_BYTES:
        raise InvalidRequest(f"the settings have more than {INSTALL_CONFIG_MAX_BYTES} bytes as JSON")
    return values


def _defaults(schema: ConfigSchema) -> Values:
    return {name: setting.default for name, setting in schema.properties.items() if setting.default is not None}


def _check(schema: ConfigSchema, values: Values) -> None:
    document: Any = msgspec.to_builtins(schema)
    validator = Draft202012Validator(document, format_checker=Draft202012Validator.FORMAT_CHECKER)
    errors = sorted(validator.iter_errors(values), key=lambda error: error.json_path)[:_VIOLATIONS_MAX]
    if errors:
        violations = [{"path": error.json_path, "message": error.message} for error in errors]
        first = violations[0]
        raise InvalidRequest(f"{first['path']}: {first['message']}", path=first["path"], violations=violations)
