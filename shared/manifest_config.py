"""Rules for the `config` member of a manifest: the JSON Schema of an install's settings.

The schema is written by a publisher and applied by the gateway to what an administrator types. So it may not make
the gateway work hard: no references, no nesting (the structs have neither), and regular expressions only of a shape
that every engine matches in bounded time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from shared.manifest_parts import ConfigProperty, ConfigSchema, Scalar
from shared.manifest_schema import Violation, json_path, schema_violations, shown
from shared.strict_json import JsonValue

_TEXT_ONLY: Final = ("min_length", "max_length", "pattern", "format")
_NUMBER_ONLY: Final = ("minimum", "maximum", "exclusive_minimum", "exclusive_maximum", "multiple_of")

# One atom: an escape that is not a back-reference, a class, or a literal; then one quantifier at most.
_ATOM: Final = re.compile(
    r"(?:\\[dDwWsS.\-+*?^$/|(){}\[\]\\]|\[\^?(?:\\.|[^\[\]\\])+\]|[^\\^$.|?*+(){}\[\]]|\.)"
    r"(?P<many>\*|\+|\?|\{\d{1,3}(?:,\d{0,3})?\})?"
)
PATTERN_QUANTIFIERS_MAX_COUNT: Final = 2  # that vary in length: matching takes at most length² steps
_BOUNDED: Final = (
    "must start with ^, end with $, have no groups, alternatives or back-references, "
    f"and at most {PATTERN_QUANTIFIERS_MAX_COUNT} quantifiers of varying length"
)


def config_violations(config: ConfigSchema) -> Iterator[Violation]:
    """What the structs alone do not say: members that fit together and values that fit their own schema."""
    for index, name in enumerate(config.required):
        if name not in config.properties:
            message = f"must name one of properties; {name!r} is not among them"
            yield Violation(json_path(["config", "required", index]), "config_required", message)
    for name, setting in config.properties.items():
        for member, message in _property_problems(setting):
            yield Violation(json_path(["config", "properties", name, member]), f"config_{member}", message)


def _property_problems(setting: ConfigProperty) -> Iterator[tuple[str, str]]:
    kind = setting.type
    for fields, kinds in ((_TEXT_ONLY, ("string",)), (_NUMBER_ONLY, ("integer", "number"))):
        if kind not in kinds:
            for field in fields:
                if getattr(setting, field) is not None:
                    yield _camel(field), f"goes with type {' or '.join(kinds)} only"
    if setting.pattern is not None and not is_bounded_pattern(setting.pattern):
        yield "pattern", _BOUNDED
    if _crossed(setting.minimum, setting.maximum) or _crossed(setting.min_length, setting.max_length):
        yield ("minimum" if setting.minimum is not None else "minLength"), "must not be above its maximum"
    unlisted = _schema(msgspec.structs.replace(setting, enum=None))
    for value in setting.enum or ():
        if not _fits(value, unlisted):
            yield "enum", f"must list valid values of this setting; {shown(repr(value))} is not one"
    if setting.default is not None and not _fits(setting.default, _schema(setting)):
        yield "default", f"must be a valid value of this setting; {shown(repr(setting.default))} is not"


def is_bounded_pattern(pattern: str) -> bool:
    """Whether a regular expression is of the accepted shape: `^atoms$` with few quantifiers of varying length."""
    if not (pattern.startswith("^") and pattern.endswith("$")):
        return False
    body, at, varying = pattern[1:-1], 0, 0
    while at < len(body):
        atom = _ATOM.match(body, at)
        if atom is None:
            return False
        many = atom["many"] or ""
        varying += many in ("*", "+") or "," in many
        at = atom.end()
    if varying > PATTERN_QUANTIFIERS_MAX_COUNT or any(pair in body for pair in ("--", "&&", "~~", "||")):
        return False  # the pairs are set operations in some engines
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _schema(setting: ConfigProperty) -> dict[str, JsonValue]:
    if setting.pattern is not None and not is_bounded_pattern(setting.pattern):
        setting = msgspec.structs.replace(setting, pattern=None)  # refused for itself, and never run
    return msgspec.json.decode(msgspec.json.encode(setting), type=dict[str, Any])


def _fits(value: Scalar, schema: dict[str, JsonValue]) -> bool:
    return not any(schema_violations(schema, value))


def _crossed(low: float | None, high: float | None) -> bool:
    return low is not None and high is not None and low > high


def _camel(field: str) -> str:
    head, *tail = field.split("_")
    return head + "".join(word.title() for word in tail)
