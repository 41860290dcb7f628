"""JSON Schema out of our structs, and violations out of a JSON Schema check.

`msgspec` writes the schema and `jsonschema` finds every violation; this module joins the two: it removes what a
Python default adds (`null` for a member that may be left out), and turns the validator's errors into paths, codes
and sentences that say what would be valid. The sentences come from the descriptions in the schema itself.
"""

from __future__ import annotations

import difflib
import itertools
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any, Final, cast

import msgspec
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend  # pyright: ignore[reportUnknownVariableType]  # not in the stubs

from shared.strict_json import JsonValue

_CODES: Final = {
    "required": "required",
    "additionalProperties": "unknown_field",
    "type": "type",
    "anyOf": "type",
    "enum": "choice",
    "const": "choice",
    "pattern": "format",
    "minLength": "length",
    "maxLength": "length",
    "minItems": "length",
    "maxItems": "length",
    "minProperties": "length",
    "maxProperties": "length",
    "minimum": "range",
    "maximum": "range",
    "exclusiveMinimum": "range",
    "exclusiveMaximum": "range",
}
_ERRORS_MAX_COUNT: Final = 1_000
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_SHOWN_MAX_CHARS: Final = 100  # of something the author wrote, repeated in a path or a message
_NAMES: Final = {"object": "an object", "array": "a list", "string": "a text", "integer": "a whole number"}


class Violation(msgspec.Struct, frozen=True):
    """One thing that is wrong with a document.

    Attributes:
        path: JSON path of the value, or of the member that is missing: `$.limits.memoryMb`.
        code: what kind of rule it breaks; stable.
        message: says what would be valid.
    """

    path: str
    code: str
    message: str

    @property
    def member(self) -> str:
        """The name of the top-level member the violation is in; empty for the document itself or an odd name."""
        found = re.match(r"\$\.([A-Za-z_$][A-Za-z0-9_$]*)", self.path)
        return found[1] if found else ""


def json_path(parts: Iterable[str | int]) -> str:
    """`$`, then `.name`, `["odd name"]` or `[0]` for each part."""
    path = "$"
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part) and len(part) <= _SHOWN_MAX_CHARS:
            path += f".{part}"
        else:
            path += f"[{json.dumps(shown(part))}]"
    return path


def shown(text: str) -> str:
    """`text`, cut to a length that fits in a message."""
    return text if len(text) <= _SHOWN_MAX_CHARS else f"{text[:_SHOWN_MAX_CHARS]}…"


# ---- the schema ---------------------------------------------------------------------------------------------


def object_schema(kind: type[msgspec.Struct], title: str) -> dict[str, JsonValue]:
    """The JSON Schema (draft 2020-12) of a struct, as one document with local references only."""
    schema = cast("dict[str, JsonValue]", _without_null(msgspec.json.schema(kind)))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}


def _without_null(node: JsonValue) -> JsonValue:
    """A member that may be left out must not be `null`: drop that choice, and the default that goes with it."""
    if isinstance(node, list):
        return [_without_null(item) for item in node]
    if not isinstance(node, dict):
        return node
    found: dict[str, Any] = {key: _without_null(value) for key, value in node.items()}
    choices = [choice for choice in found.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) != len(found.get("anyOf", ())):
        del found["anyOf"]
        found |= choices[0] if len(choices) == 1 else {"anyOf": choices}
    if None in found.get("enum", ()):
        found["enum"] = [choice for choice in found["enum"] if choice is not None]
    if "default" in found and found["default"] is None:
        del found["default"]
    if isinstance(found.get("description"), str):
        found["description"] = " ".join(found["description"].partition("\n\n")[0].split())  # a docstring's sentence
    return found


# ---- the check ----------------------------------------------------------------------------------------------


def _is_integer(_checker: Any, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)  # 5.0 is not a whole number here


_TYPES: Final = Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer)
_Validator: Final = cast("type[Validator]", extend(Draft202012Validator, type_checker=_TYPES))  # type: ignore[no-untyped-call]  # not in the stubs


def schema_violations(schema: dict[str, JsonValue], document: JsonValue) -> Iterator[Violation]:
    """Everything in `document` that `schema` forbids, in the order of their paths."""
    errors = cast("Iterable[ValidationError]", _Validator(schema).iter_errors(document))
    some = itertools.islice(errors, _ERRORS_MAX_COUNT)  # a hostile document has hundreds of thousands
    for error in sorted(some, key=lambda error: [str(part) for part in error.absolute_path]):
        yield from _violations(error)


def _violations(error: ValidationError) -> Iterator[Violation]:
    keyword = str(error.validator)
    path = list(error.absolute_path)
    schema = cast("dict[str, Any]", error.schema)
    if keyword == "anyOf" and error.context:
        yield from _nearest_choice(error)
    elif keyword == "required":
        missing = next(
            name for name in cast("list[str]", error.validator_value) if f"{name!r} is a required" in error.message
        )
        about = schema.get("properties", {}).get(missing, {}).get("description", "")
        yield Violation(json_path([*path, missing]), "required", f"is required{': ' + about if about else ''}")
    elif keyword == "additionalProperties":
        known = list(schema.get("properties", {}))
        for name in cast("dict[str, Any]", error.instance):
            if name not in known:
                yield Violation(json_path([*path, name]), "unknown_field", _unknown_field(name, known))
    elif "propertyNames" in error.absolute_schema_path:
        yield Violation(json_path([*path, str(error.instance)]), _CODES.get(keyword, keyword), _must_be(error))
    else:
        yield Violation(json_path(path), _CODES.get(keyword, keyword), _must_be(error))


def _nearest_choice(error: ValidationError) -> Iterator[Violation]:
    # A choice whose type fits is the one that was meant; its own errors say more than "none of these".
    branches = error.context or []
    foreign = {sub.schema_path[0] for sub in branches if sub.validator == "type" and not sub.path}
    meant = [sub for sub in branches if sub.schema_path[0] not in foreign]
    if meant:
        for sub in meant:
            yield from _violations(sub)
    else:
        yield Violation(json_path(error.absolute_path), "type", _must_be(error))


def _unknown_field(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(known))}"
    return f"is not a field here{hint}"


def _must_be(error: ValidationError) -> str:
    return f"must be {_valid(cast('dict[str, Any]', error.schema), str(error.validator))}"


def _valid(schema: dict[str, Any], keyword: str) -> str:
    if keyword == "type" and schema.get("type") in ("object", "array", "boolean"):
        return {"object": "an object", "array": "a list", "boolean": "true or false"}[schema["type"]]
    if "description" in schema:
        return str(schema["description"])
    if "enum" in schema:
        return "one of " + ", ".join(json.dumps(choice) for choice in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_valid(choice, "type") for choice in schema["anyOf"])
    if keyword in ("minItems", "maxItems", "minProperties", "maxProperties"):
        return f"a list or object of {schema.get('minItems', 0)} to {schema.get(keyword)} members"
    if "$ref" in schema:
        return "an object"
    bounds = [f"{key} {schema[key]}" for key in ("minimum", "maximum", "exclusiveMinimum") if key in schema]
    kind = schema.get("type", "a value")
    return " ".join([_NAMES.get(kind, str(kind)), *bounds])


# ---- texts --------------------------------------------------------------------------------------------------


def text_violations(document: JsonValue) -> Iterator[Violation]:
    """Control characters in any name or text. Descriptions and reasons may have line breaks, nothing else may.

    A text without a trailing newline also makes `$` in a pattern mean the end, in every language.
    """
    pending: list[tuple[list[str | int], JsonValue]] = [([], document)]
    while pending:
        path, value = pending.pop()
        if isinstance(value, dict):
            pending.extend(([*path, name], item) for name, item in reversed(value.items()))
            if any(_controls(name, "") for name in value):
                yield Violation(json_path(path), "control_character", "must have names without control characters")
        elif isinstance(value, list):
            pending.extend(([*path, index], item) for index, item in reversed(list(enumerate(value))))
        elif isinstance(value, str) and _controls(value, "\n\t" if path[-1:] and path[-1] in _PROSE else ""):
            yield Violation(json_path(path), "control_character", "must be a text without control characters")


_PROSE: Final = frozenset({"description", "reason"})


def _controls(text: str, allowed: str) -> bool:
    return any(unicodedata.category(letter) == "Cc" and letter not in allowed for letter in text)
