"""What a sandbox asks with, read by the WIT types of the function it asks.

A sandbox may have been taken over, and a frame of 12 MiB holds lists within lists that become most of a gigabyte of
Python. So a worker leaves the arguments as bytes until it knows the function, then makes nothing but its types, with
the sizes that the boundary inside has. An honest sandbox sends nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import msgspec

from shared.limits import LIFTED_LIST_MAX_COUNT
from shared.wit_types import U8, Enum, Interface, ListOf, OptionOf, Primitive, Record, ResultOf, TupleOf, WitType


class ArgumentsError(ValueError):
    """Not the arguments of any function that is offered."""


class Arguments:
    """Reads the arguments of every function of some interfaces.

    Args:
        interfaces: by name, as `shared.wit_parser` reads them.
    """

    def __init__(self, interfaces: Mapping[str, Interface]) -> None:
        self._decoders: dict[tuple[str, str], msgspec.msgpack.Decoder[Any]] = {
            (name, function.name): msgspec.msgpack.Decoder(_sequence(wit for _, wit in function.params))
            for name, interface in interfaces.items()
            for function in interface.functions
        }

    def read(self, interface: str, function: str, data: msgspec.Raw) -> tuple[Any, ...]:
        """The arguments, records and tuples as tuples. Raises `ArgumentsError`, or `msgspec.MsgspecError` for others."""
        decoder = self._decoders.get((interface, function))
        if decoder is None:
            raise ArgumentsError("a function that nobody offers")
        found: tuple[Any, ...] = decoder.decode(data)
        return found


def _sequence(types: Iterable[WitType]) -> Any:
    items = tuple(_python(wit) for wit in types)
    return tuple.__class_getitem__(items)


def _python(wit: WitType) -> Any:
    """The Python type that msgspec checks for values of a WIT type."""
    match wit:
        case Primitive(name=name):
            return _primitive(name)
        case ListOf(element=element):
            if element == U8:
                return bytes
            return Annotated[list[_python(element)], msgspec.Meta(max_length=LIFTED_LIST_MAX_COUNT)]  # type: ignore[misc]
        case OptionOf(inner=inner):
            return _python(inner) | None
        case TupleOf(items=items):
            return _sequence(items)
        case Record(fields=fields):
            return _sequence(field for _, field in fields)
        case ResultOf():  # in no interface of ours; msgspec cannot tell two shapes of one kind apart
            return tuple[bool, Any]
        case Enum(cases=cases):
            return Literal[cases]


def _primitive(name: str) -> Any:
    if name == "string":
        return str
    if name == "bool":
        return bool
    if name == "char":
        return Annotated[str, msgspec.Meta(min_length=1, max_length=1)]
    if name in ("f32", "f64"):
        return float
    bits = int(name[1:])
    if name == "u64":  # more than msgspec can compare with; MessagePack has no larger number
        return Annotated[int, msgspec.Meta(ge=0)]
    low, high = (0, 2**bits - 1) if name.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return Annotated[int, msgspec.Meta(ge=low, le=high)]
