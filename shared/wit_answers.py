"""What a host function answers when it may not, or could not, do its work: always a value of its own type.

No exception ever leaves a host function, and a missing grant is never a link failure; so both the refusal and the
failure are derived from the function's result type. Functions without an error type answer empty.
"""

from __future__ import annotations

from typing import Any, Final

from shared.wit_types import Enum, Function, ListOf, OptionOf, Primitive, Record, ResultOf, TupleOf, WitType

_DENIED_CASES: Final = ("denied", "not-allowed")
_FAILED_CASES: Final = ("internal", "transport", "not-available")


def denied_answer(function: Function, capability: str) -> Any:
    """The answer of `function` to a guest without `capability`; names the grant where the type has room for text."""
    return _answer(function.result, _DENIED_CASES, f"{capability} is not granted to this install")


def failed_answer(function: Function) -> Any:
    """The answer of `function` when the platform itself failed; says nothing about why."""
    return _answer(function.result, _FAILED_CASES, "the platform could not do this")


def told_answer(function: Function, cases: tuple[str, ...], message: str) -> Any:
    """The answer of `function` that says why: the first of `cases` its error has, or `message` where it has room for it.

    Without any of them, the error's last case.
    """
    return _answer(function.result, cases, message)


def has_error_type(function: Function) -> bool:
    """Whether a refusal is visible to the guest; if not, it is told in the debug stream instead."""
    return isinstance(function.result, ResultOf | Record)


def _answer(wit: WitType | None, cases: tuple[str, ...], message: str) -> Any:
    match wit:
        case ResultOf(err=Enum(cases=known)):
            return False, next((case for case in cases if case in known), known[-1])
        case ResultOf(err=err):
            return False, _empty(err, message)
        case _:
            return _empty(wit, message)


def _empty(wit: WitType | None, message: str) -> Any:
    """The emptiest value of a type; `message` goes into a bare string or a record's `error` field."""
    match wit:
        case None | OptionOf():
            return None
        case Primitive(name="string"):
            return message
        case Primitive(name="bool"):
            return False
        case Primitive(name="char"):
            return " "
        case Primitive():
            return 0
        case ListOf(element=Primitive(name="u8")):
            return b""
        case ListOf():
            return []
        case TupleOf(items=items):
            return [_empty(item, message) for item in items]
        case Enum(cases=cases):
            return cases[-1]
        case ResultOf(err=err):
            return False, _empty(err, message)
        case Record(fields=fields):
            return [message if name == "error" else _empty(field, "") for name, field in fields]
