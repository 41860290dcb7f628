"""The capability matrix: every function of every interface, in three engines, granted and denied, through both services.

`make test-capabilities` runs this file alone and prints what came out as a table.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from deploy.local.record import Stack
from shared.capabilities import ALWAYS
from shared.provider_files import shipped
from shared.wasi import FUNCTIONS
from tests.system.capability_keepers import ENGINES, KINDS, Guest, Scene, guests_of, setting
from tests.system.capability_rows import OURS, ROWS, WASI, Row
from tests.system.provider_keepers import DENIED, GRANTED

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.guests, pytest.mark.timeout(120, func_only=True)]

Record = Callable[[str, object], None]
Guests = dict[str, dict[str, Guest]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with setting(stack, tmp_path_factory.mktemp("setting")) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guests(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guests]:
    """By engine and kind."""
    folder = tmp_path_factory.mktemp("guests")
    async with contextlib.AsyncExitStack() as into:
        found = await asyncio.gather(*(into.enter_async_context(guests_of(scene, one, folder)) for one in ENGINES))
        yield dict(zip(ENGINES, found, strict=True))


CASES = [
    pytest.param(row, engine, kind, id=f"{row.function}-{engine}-{kind}")
    for row in ROWS
    for engine in row.reached
    for kind in KINDS
]


@pytest.mark.parametrize(("row", "engine", "kind"), CASES)
async def test_a_function_answers_what_its_interface_documents(
    row: Row, engine: str, kind: str, guests: Guests, record_property: Record
) -> None:
    record_property("capability", f"{row.function} {engine} {kind}")
    guest = guests[engine][kind]
    prior = None
    if row.before is not None:
        prior = (await guest.call(*row.before)).value
    given = row.given(guest, prior) if callable(row.given) else row.given
    told = await guest.call(row.function, given)
    record_property("result", in_a_word(told.value))
    expected = row.granted if kind == GRANTED else row.denied
    assert told.value == (expected(guest) if callable(expected) else expected)
    refusals = [message for message in told.said("system") if "denied;" in message]
    if kind == DENIED and row.capability not in (None, ALWAYS):
        name = row.function.replace("/", ".")
        assert refusals == [f"{name}: denied; granting {row.capability} to this install would allow it"]
        assert told.said("log") == []
        return
    assert refusals == []
    if row.seen is not None:
        await row.seen(guest, told)


def in_a_word(answer: dict[str, Any]) -> str:
    """The kind of an answer, as the table shows it."""
    if "code" in answer:
        return str(answer["code"])
    if "error" in answer:
        return "error" if " " in answer["error"] else str(answer["error"])
    match answer["value"]:
        case None:
            return "none"
        case []:
            return "empty"
        case {"success": False}:
            return "success: false"
        case _:
            return "value"


async def test_the_rows_are_every_function_of_every_interface() -> None:
    world = shipped().world
    known = {f"{name}/{one.name}" for name in world.imports for one in world.interfaces[name].functions}
    assert sorted(row.function for row in OURS) == sorted(known)
    assert {row.function for row in WASI} <= set(FUNCTIONS)
    assert {row.function.partition("/")[0] for row in WASI} == {
        name.partition("/")[0] for name in FUNCTIONS if not name.startswith("wasi:io/")
    }
