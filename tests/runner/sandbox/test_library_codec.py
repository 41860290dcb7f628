"""The library's codec behind our shapes: the same values both ways, the same limits, the same guests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.sandbox import frames
from runner.sandbox.codec.lift import LiftError
from runner.sandbox.library_codec import expressible, from_library, library_function, to_library
from runner.sandbox.offer import platform_offer
from runner.sandbox.pool import PoolOptions
from runner.sandbox.process import Outcome
from shared.limits import LIFTED_LIST_MAX_COUNT, LIFTED_MAX_BYTES
from shared.provider_files import shipped
from shared.wit_answers import denied_answer, failed_answer
from shared.wit_types import STRING, U8, Enum, Function, ListOf, OptionOf, ResultOf, WitType
from tests.runner.sandbox.driving import Driver, Recorded, running_pool
from tests.runner.sandbox.test_codec import WORLD, types_of, values

FUNCTIONS = [one for interface in shipped().world.interfaces.values() for one in interface.functions]
SAID = [one for one in FUNCTIONS if expressible(one)]
UNSAID = {"get-schedule", "get-client", "get-service"}  # result<option<…>, …>


def sayable(wit: WitType) -> bool:
    return expressible(Function("f", (), wit))


@pytest.mark.parametrize(
    "wit", [wit for wit in types_of(WORLD) if sayable(wit)], ids=lambda wit: getattr(wit, "name", "type")
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_value_of_any_type_is_the_same_after_both_conversions(wit: WitType, data: st.DataObject) -> None:
    value = data.draw(values(wit))
    assert from_library(wit, to_library(wit, value)) == value


def test_the_functions_that_keep_our_codec_are_those_whose_errors_the_library_takes_for_values() -> None:
    assert {one.name for one in FUNCTIONS if not expressible(one)} == UNSAID


@pytest.mark.parametrize("function", SAID, ids=lambda function: function.name)
def test_every_refusal_and_failure_can_be_said(function: Function) -> None:
    for answer in (denied_answer(function, "cap:x"), failed_answer(function)):
        if function.result is not None:
            back = from_library(function.result, to_library(function.result, answer))
            assert msgspec.json.encode(back) == msgspec.json.encode(answer)


@pytest.mark.parametrize("function", SAID, ids=lambda function: function.name)
def test_no_exception_leaves_a_function_whatever_the_host_does(function: Function) -> None:
    def explode(*_: object) -> object:
        raise KeyboardInterrupt("a host that fails in the worst way")

    run = library_function("interface", function, explode, explode)
    answer = run(object(), *(object() for _ in function.params))
    if function.result is not None:
        expected = failed_answer(function)
        assert msgspec.json.encode(from_library(function.result, answer)) == msgspec.json.encode(expected)


@pytest.mark.parametrize(
    ("wit", "fits", "too_large"),
    [
        (STRING, "é" * (LIFTED_MAX_BYTES // 2), "é" * (LIFTED_MAX_BYTES // 2 + 1)),
        (ListOf(U8), bytes(LIFTED_MAX_BYTES), bytes(LIFTED_MAX_BYTES + 1)),
        (ListOf(STRING), [""] * LIFTED_LIST_MAX_COUNT, [""] * (LIFTED_LIST_MAX_COUNT + 1)),
    ],
    ids=["string", "bytes", "list"],
)
def test_limits_are_those_of_our_codec(wit: WitType, fits: Any, too_large: Any) -> None:
    assert from_library(wit, fits) == fits
    with pytest.raises(LiftError):
        from_library(wit, too_large)


def test_arguments_that_are_too_large_are_refused_and_not_handed_over() -> None:
    function = Function("f", (("text", STRING),), ResultOf(None, STRING))
    run = library_function("i", function, lambda *_: (True, None), lambda _i, _f, reason: (False, reason))
    assert run(object(), "x") is None
    assert "larger than" in run(object(), "x" * (LIFTED_MAX_BYTES + 1))


def test_sides_of_one_class_are_told_apart_by_their_names() -> None:
    same = ResultOf(STRING, Enum("e", ("denied",)))
    for value in ((True, "denied"), (False, "denied")):
        assert from_library(same, to_library(same, value)) == value
    nested = OptionOf(OptionOf(STRING))
    assert from_library(nested, to_library(nested, None)) is None
    assert from_library(nested, to_library(nested, "inside")) == "inside"


# ---- a whole pool that runs on it ---------------------------------------------------------------------------


@pytest.fixture
async def library_driver(behaviours: bytes) -> AsyncIterator[Driver]:
    offer = msgspec.structs.replace(platform_offer(), codec="library")
    async with running_pool(PoolOptions(sandbox_max=4, idle_max=2), offer=offer) as pool:
        yield Driver(pool, behaviours)


def done(outcome: Outcome) -> frames.Done:
    assert isinstance(outcome.result, frames.Done), outcome
    return outcome.result


async def test_a_guest_answers_with_the_bytes_it_was_given(library_driver: Driver) -> None:
    body = bytes(range(256)) * 17
    answer = done(await library_driver.call(body=body, headers=[("x-ü", "ä"), ("empty", "")]))
    assert (answer.status, answer.headers, answer.body) == (200, [("x-ü", "ä"), ("empty", "")], body)
    assert done(await library_driver.call(body=None)).body is None


async def test_a_host_call_is_asked_and_answered_denied_and_failed(library_driver: Driver) -> None:
    calls, entry = Recorded(lambda: (True, ["one", "line", b"v", 7])), ("cap:storage.kv",)
    assert done(await library_driver.call("/host", calls=calls, grants=entry)).status == 299
    assert calls.asked == [("storage", "get", ["one", "line"])]
    assert done(await library_driver.call("/host", calls=Recorded(), grants=entry)).status == 299
    denied = Recorded()
    assert done(await library_driver.call("/host", calls=denied)).status == 299
    assert [line[2] for line in denied.lines] == [
        "storage.get: denied; granting cap:storage.kv to this install would allow it"
    ]


@pytest.mark.parametrize(
    ("url", "kind"), [("/loop", "interrupt"), ("/trap", "unreachable"), ("/stack", "stack"), ("/divide", "trap")]
)
async def test_a_guest_that_fails_is_told_apart_and_the_next_call_works(
    library_driver: Driver, url: str, kind: str
) -> None:
    outcome = await library_driver.call(url, timeout_ms=300)
    assert isinstance(outcome.result, frames.Failed)
    assert outcome.result.kind == kind
    assert done(await library_driver.call()).status == 200


async def test_a_log_line_arrives_before_the_answer(library_driver: Driver) -> None:
    calls = Recorded()
    await library_driver.call("/info", calls=calls)
    assert calls.lines == [("info", "log", "one line")]
