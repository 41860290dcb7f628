"""Reads provider files: `NAME.toml`, how a service of the host application is spoken to, and `NAME.wit`, its interface.

    shared/providers/       the reference ones, always there
    EXT_PROVIDERS_DIR       further ones of the operator, mounted into gateway, compiler and runner alike

A TOML file has exactly these keys; what a wrong one should be, the error says, with file and line:

    capability  = "cap:crm.read"       what opens it; no other provider's, none of the platform's
    description = "reads contacts"     shown to the person who grants it
    endpoint    = "crm"                its address in RUNNER_PROVIDER_ENDPOINTS; left out: NAME
    case        = "camel"              of names in JSON; or "snake"
    denied      = "not-allowed"        how each function refuses: this case of its error (or "denied"), which has
                                       `internal` as well; or "success-false": a record with `success` and `error`

The WIT file belongs to package `alga:extension` and writes `interface NAME`; it may add types to `interface types`, and
use the platform's. It is read by `shared.wit_parser`, so variants, flags and resources are refused.
"""

from __future__ import annotations

import re
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Final

import msgspec

from shared.capabilities import INTERFACES, KNOWN
from shared.capabilities import NAME as CAPABILITY
from shared.limits import PROVIDER_FILE_MAX_BYTES, PROVIDER_FUNCTIONS_MAX_COUNT, PROVIDERS_MAX_COUNT
from shared.provider import Denial, Provider, Providers
from shared.wit_answers import denied_answer
from shared.wit_json import FieldCase, UnmappableTypeError, check_type
from shared.wit_parser import TYPES, WIT_DIRECTORY, WitSyntaxError, declared, load_world, parse_world
from shared.wit_types import STRING, Enum, Function, Interface, OptionOf, Primitive, Record, ResultOf

SHIPPED: Final = Path(__file__).parent / "providers"

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z][a-z0-9]*)*")
_NAME_MAX_CHARS: Final = 64  # of a token's audience and a metric's label
_CAPABILITY_MAX_CHARS: Final = 100  # as in a manifest
_DESCRIPTION_MAX_CHARS: Final = 200  # one line of the consent
_TOML_LINE: Final = re.compile(r" \(at line (\d+), column \d+\)| \(at end of document\)")


class ProviderFormatError(ValueError):
    """A provider file is not valid: `FILE:LINE: what would be`."""


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    capability: str
    description: str
    case: FieldCase
    denied: Denial
    endpoint: str = ""


class _Source(msgspec.Struct, frozen=True):
    """The two texts of one provider."""

    name: str
    toml: str
    wit: str

    def wrong(self, suffix: str, pattern: str, message: str) -> ProviderFormatError:
        """An error at the first line of the file with `suffix` where `pattern` is found."""
        text = self.toml if suffix == ".toml" else self.wit
        found = re.search(pattern, text, re.MULTILINE)
        line = text.count("\n", 0, found.start()) + 1 if found else 1
        return ProviderFormatError(f"{self.name}{suffix}:{line}: {message}")

    def wrong_key(self, key: str, message: str) -> ProviderFormatError:
        """An error at a key of the TOML file."""
        return self.wrong(".toml", rf"^[ \t]*\[*{re.escape(key)}\b", f"{key} {message}")


@lru_cache(maxsize=1)
def shipped() -> Providers:
    """The reference providers alone."""
    return _providers(_sources(SHIPPED))


def read_providers(directory: str) -> Providers:
    """The reference providers and those in `directory`; a parser of settings.

    Raises:
        ProviderFormatError: a file is not valid; its text says which, where, and what would be.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise ProviderFormatError("must be a readable directory of NAME.toml and NAME.wit files")
    return _providers([*_sources(SHIPPED), *_sources(folder)])


# ---- files --------------------------------------------------------------------------------------------------


def _sources(folder: Path) -> list[_Source]:
    """Each provider in `folder`; names that begin with a dot are the file system's, other suffixes people's notes."""
    try:
        files = {path.name: path for path in folder.iterdir() if not path.name.startswith(".")}
    except OSError as error:
        raise ProviderFormatError(f"cannot be read: {error.strerror}") from error
    described = {name.removesuffix(".toml") for name in files if name.endswith(".toml")}
    written = {name.removesuffix(".wit") for name in files if name.endswith(".wit")}
    for name in sorted(described ^ written):
        there, missing = (".toml", ".wit") if name in described else (".wit", ".toml")
        raise ProviderFormatError(f"{name}{there}:1: {name}{missing} must stand beside it")
    if len(described) > PROVIDERS_MAX_COUNT:
        raise ProviderFormatError(f"at most {PROVIDERS_MAX_COUNT} providers can be declared, not {len(described)}")
    return [_Source(name, _text(files[f"{name}.toml"]), _text(files[f"{name}.wit"])) for name in sorted(described)]


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(PROVIDER_FILE_MAX_BYTES + 1)
    except OSError as error:
        raise ProviderFormatError(f"{path.name}:1: cannot be read: {error.strerror}") from error
    if len(data) > PROVIDER_FILE_MAX_BYTES:
        raise ProviderFormatError(f"{path.name}:1: must have at most {PROVIDER_FILE_MAX_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ProviderFormatError(f"{path.name}:{line}: must be UTF-8 text") from error


# ---- one provider -------------------------------------------------------------------------------------------


def _providers(sources: list[_Source]) -> Providers:
    types = (f"{TYPES}.wit", (WIT_DIRECTORY / f"{TYPES}.wit").read_text())
    found: list[Provider] = []
    for source in sources:
        _check_name(source, [one.name for one in found])
        found.append(_provider(source, _interface(source, types), [one.capability for one in found]))
    try:
        together = parse_world([types, *((f"{source.name}.wit", source.wit) for source in sources)])
    except WitSyntaxError as error:  # two of them write the same type
        raise ProviderFormatError(str(error)) from error
    platform = load_world()
    return Providers(platform, {**platform.interfaces, **together.interfaces}, found)


def _check_name(source: _Source, taken: list[str]) -> None:
    name = source.name
    if not _NAME.fullmatch(name) or len(name) > _NAME_MAX_CHARS:
        raise source.wrong(
            ".toml", "", f"the file's name must be that of an interface, such as line-items.toml, not {name}"
        )
    if name in INTERFACES or name == TYPES:
        raise source.wrong(".toml", "", f"{name} is an interface of the platform; take another name")
    if name in taken:
        raise source.wrong(".toml", "", f"{name} is declared already; take another name")


def _interface(source: _Source, types: tuple[str, str]) -> Interface:
    """The interface that a provider's WIT file writes with nothing but the platform's types."""
    file = f"{source.name}.wit"
    try:
        written = declared(file, source.wit)
        for name in written:
            if name not in (source.name, TYPES):
                kind = name if name.startswith("world ") else f"interface {name}"
                raise source.wrong(
                    ".wit", rf"^[ \t]*{kind}\b", f"must write interface {source.name}, and {TYPES}, not {kind}"
                )
        if source.name not in written:
            raise source.wrong(".wit", "", f"must write interface {source.name}")
        return parse_world([types, (file, source.wit)]).interfaces[source.name]
    except WitSyntaxError as error:
        raise ProviderFormatError(str(error)) from error
    except RecursionError as error:
        raise source.wrong(".wit", "", "types are nested too deeply") from error


def _provider(source: _Source, interface: Interface, taken: list[str]) -> Provider:
    file = _description(source)
    if not CAPABILITY.fullmatch(file.capability) or len(file.capability) > _CAPABILITY_MAX_CHARS:
        raise source.wrong_key("capability", "must be a name such as cap:crm.read")
    if file.capability in KNOWN or file.capability in taken:
        raise source.wrong_key("capability", f"must open this provider alone; {file.capability} is taken")
    if not file.description.isprintable() or not 0 < len(file.description.strip()) <= _DESCRIPTION_MAX_CHARS:
        raise source.wrong_key("description", f"must be one line of 1–{_DESCRIPTION_MAX_CHARS} characters")
    endpoint = file.endpoint or source.name
    if not _NAME.fullmatch(endpoint) or len(endpoint) > _NAME_MAX_CHARS:
        raise source.wrong_key("endpoint", "must be a name in lower case, words joined by hyphens")
    if not 0 < len(interface.functions) <= PROVIDER_FUNCTIONS_MAX_COUNT:
        raise source.wrong(
            ".wit", rf"^[ \t]*interface {source.name}\b", f"must have 1–{PROVIDER_FUNCTIONS_MAX_COUNT} functions"
        )
    for function in interface.functions:
        _check_function(source, function, file)
    return Provider(
        name=source.name,
        capability=file.capability,
        description=file.description,
        endpoint=endpoint,
        case=file.case,
        denied=file.denied,
        interface=interface,
        wit=source.wit,
    )


def _description(source: _Source) -> _File:
    try:
        members = tomllib.loads(source.toml)
    except tomllib.TOMLDecodeError as error:
        said = _TOML_LINE.search(str(error))
        line = int(said[1]) if said and said[1] else source.toml.count("\n") + 1
        raise ProviderFormatError(f"{source.name}.toml:{line}: {_TOML_LINE.sub('', str(error))}") from error
    for key in sorted(members.keys() - set(_File.__struct_fields__)):
        raise source.wrong_key(key, f"is not a key; known are {', '.join(_File.__struct_fields__)}")
    for key, values in (("case", FieldCase), ("denied", Denial)):
        if key in members and members[key] not in list(values):
            raise source.wrong_key(key, f"must be one of {', '.join(values)}")
    try:
        return msgspec.convert(members, _File)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$.")
        raise source.wrong(".toml", rf"^[ \t]*{re.escape(place.rstrip('`')) or '$'}\s*=", str(reason)) from error


def _check_function(source: _Source, function: Function, file: _File) -> None:
    """Raise unless every call can be asked in JSON and answered with a refusal and a failure of its own type."""
    place = rf"^[ \t]*%?{function.name}\s*:\s*func\b"
    payload = function.result.ok if isinstance(function.result, ResultOf) else function.result
    try:
        check_type(Record("input", function.params), file.case)
        if payload is not None:
            check_type(payload, file.case)
    except UnmappableTypeError as error:
        raise source.wrong(".wit", place, f"{function.name}: {error}") from error
    if not _refuses(function, file):
        if file.denied is Denial.SUCCESS_FALSE:
            wanted = "a record with success: bool and error: option<string>"
        else:
            wanted = f"a result whose error is an enum with the cases {file.denied} and internal"
        raise source.wrong(
            ".wit", place, f"{function.name} must answer {wanted}, as denied = {file.denied.value!r} asks"
        )


def _refuses(function: Function, file: _File) -> bool:
    match function.result:
        case ResultOf(err=Enum(cases=cases)):
            denied = denied_answer(function, file.capability) == (False, file.denied.value)
            return denied and "internal" in cases
        case Record(fields=fields):
            known = dict(fields)
            told = known.get("error") in (OptionOf(STRING), STRING)
            return file.denied is Denial.SUCCESS_FALSE and told and known.get("success") == Primitive("bool")
        case _:
            return False
