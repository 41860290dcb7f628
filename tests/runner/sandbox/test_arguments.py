"""What a sandbox asks with: every value of the world's types is read, anything else is no arguments."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.sandbox.arguments import Arguments, ArgumentsError
from shared.limits import LIFTED_LIST_MAX_COUNT
from shared.provider_files import shipped
from shared.wit_types import Function
from tests.runner.sandbox.test_codec import values

INTERFACES = shipped().world.interfaces
ARGUMENTS = Arguments(INTERFACES)
FUNCTIONS = [(name, one) for name, interface in INTERFACES.items() for one in interface.functions]


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.msgpack.encode(value))


def plain(value: Any) -> Any:
    """Sequences as lists, whichever they were."""
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize(("interface", "function"), FUNCTIONS, ids=lambda one: getattr(one, "name", one))
@settings(max_examples=20)
@given(data=st.data())
def test_whatever_a_guest_may_pass_is_read_as_it_was(interface: str, function: Function, data: st.DataObject) -> None:
    given_ = [data.draw(values(wit)) for _, wit in function.params]
    assert plain(ARGUMENTS.read(interface, function.name, raw(given_))) == plain(given_)


@pytest.mark.parametrize(
    ("interface", "function", "sent"),
    [
        ("storage", "get", ["a"]),
        ("storage", "get", ["a", "b", "c"]),
        ("storage", "get", ["a", 1]),
        ("storage", "get", {"namespace": "a", "key": "b"}),
        ("storage", "put", [["n", "k", "text", None]]),
        ("storage", "put", [["n", "k", b"", -1]]),
        ("storage", "put", [["n", "k", b"", 2**64 - 1, 0]]),
        ("metrics", "counter", ["n", "1", []]),
        ("metrics", "counter", ["n", 1.0, [["only a name"]]]),
        ("services", "list-services", [[None, "neither", None, None, None, None]]),
        ("clients", "list-clients", [[None, None, -1, None]]),
        ("clients", "list-clients", [[None, None, 2**32, None]]),
        ("config", "get-all", [None]),
    ],
)
def test_anything_else_is_no_arguments(interface: str, function: str, sent: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        ARGUMENTS.read(interface, function, raw(sent))


@pytest.mark.parametrize(("interface", "function"), [("storage", "drop"), ("nothing", "get"), ("", "")])
def test_a_function_that_nobody_offers_is_refused_before_its_arguments_are_read(interface: str, function: str) -> None:
    with pytest.raises(ArgumentsError):
        ARGUMENTS.read(interface, function, msgspec.Raw(b"\xc1"))


@pytest.mark.parametrize("surplus", [-1, 0, 1])
def test_a_list_has_as_many_items_as_may_cross_inside(surplus: int) -> None:
    pairs = [("", "")] * (LIFTED_LIST_MAX_COUNT + surplus)
    if surplus <= 0:
        (_, _, read) = ARGUMENTS.read("metrics", "counter", raw(["n", 1.0, pairs]))
        assert len(read) == len(pairs)
    else:
        with pytest.raises(msgspec.ValidationError):
            ARGUMENTS.read("metrics", "counter", raw(["n", 1.0, pairs]))


def test_the_largest_number_of_the_world_is_read() -> None:
    entry = ["n", "k", b"", 2**64 - 1]
    assert plain(ARGUMENTS.read("storage", "put", raw([entry]))) == [entry]
