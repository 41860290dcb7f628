"""What guests hand to the host: sizes, pointers and encodings that no honest toolchain makes. Rows T19, T20."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.sandbox import frames
from runner.sandbox.process import Outcome
from shared.component import inspect_component
from shared.limits import GUEST_ANSWER_MAX_BYTES, LIFTED_LIST_MAX_COUNT, LIFTED_MAX_BYTES, MIB
from tests.runner.sandbox.driving import Recorded
from tests.security.guests import ENCODINGS, IMAGE, compiled, guest, image, native, raw, words
from tests.security.processes import Guest

GuestOf = Callable[[bytes], Guest]

GRANTS = ("cap:http.fetch", "cap:log.emit", "cap:metrics.emit", "cap:scheduler.manage", "cap:storage.kv")
PUT, UPDATE, COUNTER, LOG, FETCH = 1, 2, 3, 4, 5
DATA = IMAGE + 128
FAR = 1 * MIB  # untouched memory: zeros as far as it goes


@pytest.fixture(scope="session")
def raws() -> dict[str, bytes]:
    """The guest that hands over any bytes, once for each string encoding."""
    return {encoding: native(raw(encoding)) for encoding in ENCODINGS}


async def hand(guest: Guest, data: bytes, memory_mb: int = 64) -> tuple[Outcome, Recorded]:
    """How a call that hands over this image ended, and what arrived."""
    calls = Recorded()
    outcome = await guest.call(
        body=data, headers=[], memory_mb=memory_mb, timeout_ms=10_000, grants=GRANTS, calls=calls
    )
    return outcome, calls


@pytest.fixture
def hostile(guest_of: GuestOf, raws: dict[str, bytes]) -> Guest:
    """The one with UTF-8."""
    return guest_of(raws["utf8"])


async def test_the_guest_that_hands_over_any_bytes_could_be_published(tmp_path: Path) -> None:
    await compiled(raw(), tmp_path)
    assert "alga:extension/scheduler" in inspect_component(tmp_path / "main.wasm", timeout_s=30).imports


# ---- T19 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "data", "pages"),
    [
        ("a body of 64 MiB", words(200, 0, 0, 1, FAR, 64 * MIB), 1100),
        ("a body of one byte too many", words(200, 0, 0, 1, FAR, GUEST_ANSWER_MAX_BYTES + 48), 100),
        ("ten million headers", words(200, FAR, 10**7, 0, 0, 0), 3000),
    ],
)
async def test_t19_an_answer_that_is_too_large_is_refused_before_it_is_copied(
    hostile: Guest, what: str, data: bytes, pages: int
) -> None:
    outcome, _ = await hand(hostile, image(DATA, grow_pages=pages, data={DATA: data}), memory_mb=256)
    assert isinstance(outcome.result, frames.Failed), what
    assert outcome.result.kind == "response"
    assert str(GUEST_ANSWER_MAX_BYTES) in outcome.result.message
    assert hostile.peak_growth_bytes() < 32 * MIB


@pytest.mark.parametrize(
    ("what", "call", "arguments"),
    [
        ("a value of 64 MiB", PUT, words(FAR, 1, FAR, 1, FAR, 64 * MIB, 0, 0)),
        ("ten million labels", COUNTER, words(FAR, 1, 0, 0, FAR, 10**7)),
        ("a body of 64 MiB", FETCH, words(FAR, 1, FAR, 1, FAR, 0, 1, FAR, 64 * MIB)),
    ],
)
async def test_t19_lists_beyond_what_the_engine_copies_stop_the_guest_with_the_number(
    hostile: Guest, what: str, call: int, arguments: bytes
) -> None:
    outcome, calls = await hand(hostile, image(grow_pages=3000, call=call, arguments=arguments), memory_mb=256)
    assert isinstance(outcome.result, frames.Failed), what
    assert outcome.result.kind == "trap"
    assert f"more than {GUEST_ANSWER_MAX_BYTES} bytes were passed to a host function" in outcome.result.message
    assert calls.asked == []


ALIASED = 13_000  # labels that all point at the same thousand bytes: 13 MB from a few pages of guest memory


@pytest.mark.parametrize(
    ("what", "data", "said"),
    [
        (
            "a string of 100 MiB",
            image(grow_pages=1700, call=LOG, arguments=words(FAR, 100 * MIB)),
            f"logging.log-info: not called; a value is larger than {LIFTED_MAX_BYTES} bytes",
        ),
        (
            "a string of one byte too many",
            image(grow_pages=1700, call=LOG, arguments=words(FAR, LIFTED_MAX_BYTES + 1)),
            f"logging.log-info: not called; a value is larger than {LIFTED_MAX_BYTES} bytes",
        ),
        (
            "a list of one item too many",
            image(grow_pages=1700, call=COUNTER, arguments=words(FAR, 1, 0, 0, FAR, LIFTED_LIST_MAX_COUNT + 1)),
            f"metrics.counter: not called; a list of {LIFTED_LIST_MAX_COUNT + 1} items is longer",
        ),
        (
            "many items that share their bytes",
            image(
                grow_pages=1700,
                call=COUNTER,
                arguments=words(FAR, 1, 0, 0, DATA, ALIASED),
                data={DATA: words(FAR, 1000, FAR, 0) * ALIASED},
            ),
            f"metrics.counter: not called; a value is larger than {LIFTED_MAX_BYTES} bytes",
        ),
    ],
)
async def test_t19_what_is_too_large_to_cross_is_never_made_into_a_value_and_the_author_is_told(
    hostile: Guest, what: str, data: bytes, said: str
) -> None:
    outcome, calls = await hand(hostile, data, memory_mb=256)
    assert isinstance(outcome.result, frames.Done), what
    assert outcome.result.status == 299
    assert calls.asked == []
    ((level, stream, message),) = calls.lines
    assert (level, stream) == ("warn", "system")
    assert message.startswith(said)


@pytest.mark.parametrize("count", [LIFTED_LIST_MAX_COUNT - 1, LIFTED_LIST_MAX_COUNT])
async def test_t19_a_list_as_long_as_it_may_be_arrives(hostile: Guest, count: int) -> None:
    arguments = words(FAR, 1, 0, 0, FAR, count)
    outcome, calls = await hand(hostile, image(grow_pages=100, call=COUNTER, arguments=arguments), memory_mb=64)
    assert isinstance(outcome.result, frames.Done)
    ((interface, function, (_, _, labels)),) = calls.asked
    assert (interface, function, len(labels)) == ("metrics", "counter", count)


async def test_t19_a_string_as_long_as_it_may_be_is_taken_and_cut(hostile: Guest) -> None:
    arguments = words(FAR, LIFTED_MAX_BYTES)
    outcome, calls = await hand(hostile, image(grow_pages=200, call=LOG, arguments=arguments), memory_mb=64)
    assert isinstance(outcome.result, frames.Done)
    assert [(level, stream) for level, stream, _ in calls.lines] == [("info", "log")]


async def test_t19_another_tenant_is_served_all_the_while(hostile: Guest) -> None:
    big = image(grow_pages=1700, call=LOG, arguments=words(FAR, 100 * MIB))
    attacks = [asyncio.create_task(hand(hostile, big, memory_mb=256)) for _ in range(3)]
    neighbour = hostile.of("a-neighbour")
    plain = image(DATA, data={DATA: words(204, 0, 0, 0, 0, 0)})
    for _ in range(10):
        assert (await neighbour.done(body=plain)).status == 204
    for outcome, _ in await asyncio.gather(*attacks):
        assert isinstance(outcome.result, frames.Done)


# ---- T20: each of these by name, and then whatever chance makes (`test_abi_fuzz.py`) -----------------------------


LONE = b"\x00\xd8"  # a high surrogate in UTF-16, little-endian, with nothing behind it
TAGGED = 2**31  # latin1+utf16: the text is UTF-16


@pytest.mark.parametrize(
    ("encoding", "what", "address", "length", "data"),
    [
        ("utf8", "a byte that begins nothing", DATA, 1, b"\xff"),
        ("utf8", "an overlong slash", DATA, 2, b"\xc0\xaf"),
        ("utf8", "a surrogate", DATA, 3, b"\xed\xa0\x80"),
        ("utf8", "a character cut in half", DATA, 1, "ä".encode()),
        ("utf8", "behind the end of memory", FAR - 1, 2, b""),
        ("utf8", "an address that wraps around", 2**32 - 1, 2, b""),
        ("utf8", "a length of all ones", DATA, 2**32 - 1, b""),
        ("utf16", "a lone high surrogate", DATA, 1, LONE),
        ("utf16", "a lone low surrogate", DATA, 1, b"\x00\xdc"),
        ("utf16", "two high surrogates", DATA, 2, LONE + LONE),
        ("utf16", "surrogates the wrong way round", DATA, 2, b"\x00\xdc\x00\xd8"),
        ("utf16", "an odd address", DATA + 1, 1, b"ab\0"),
        ("utf16", "a length that wraps around when doubled", DATA, 2**31 + 1, b"ab\0"),
        ("utf16", "the last byte of memory", FAR - 1, 1, b""),
        ("latin1+utf16", "a lone high surrogate", DATA, TAGGED | 1, LONE),
        ("latin1+utf16", "UTF-16 at an odd address", DATA + 1, TAGGED | 1, b"ab\0"),
        ("latin1+utf16", "a length of all ones", DATA, 2**32 - 1, b""),
    ],
)
async def test_t20_text_that_is_none_traps(
    guest_of: GuestOf, raws: dict[str, bytes], encoding: str, what: str, address: int, length: int, data: bytes
) -> None:
    hostile = guest_of(raws[encoding])
    outcome, calls = await hand(hostile, image(call=LOG, arguments=words(address, length), data={DATA: data}))
    assert isinstance(outcome.result, frames.Failed), what
    assert (outcome.result.kind, calls.lines) == ("trap", [])
    outcome, _ = await hand(hostile, image(call=LOG, arguments=words(DATA, 0)))
    assert isinstance(outcome.result, frames.Done)


@pytest.mark.parametrize(
    ("encoding", "length", "data"),
    [
        ("utf8", 7, "ä€𝄞"[:2].encode() + b"xy"),
        ("utf16", 3, "ä€x".encode("utf-16-le")),
        ("latin1+utf16", 3, b"\xe4xy"),
        ("latin1+utf16", TAGGED | 3, "ä€x".encode("utf-16-le")),
    ],
)
async def test_t20_text_in_each_encoding_arrives(
    guest_of: GuestOf, raws: dict[str, bytes], encoding: str, length: int, data: bytes
) -> None:
    _, calls = await hand(guest_of(raws[encoding]), image(call=LOG, arguments=words(DATA, length), data={DATA: data}))
    assert [line[2] for line in calls.lines] in (["ä€xy"], ["ä€x"], ["äxy"])


NOTHING = words(0, 0, 0)
UPDATED = words(DATA, 0) + NOTHING * 6  # update-schedule's arguments: id, then five optional texts and an optional bool


@pytest.mark.parametrize(
    ("what", "hostile_image"),
    [
        ("an answer at an odd address", image(DATA + 1)),
        ("an answer behind the end of memory", image(FAR)),
        ("an answer that wraps around", image(2**32 - 4)),
        ("a header list at an odd address", image(DATA, data={DATA: words(200, DATA + 1, 1, 0, 0, 0)})),
        ("a header list whose size wraps around", image(DATA, data={DATA: words(200, DATA, 2**28, 0, 0, 0)})),
        ("a body that is neither there nor absent", image(DATA, data={DATA: words(200, 0, 0, 2, 0, 0)})),
        ("an argument record at an odd address", image(call=UPDATE, arguments=words(DATA + 2))),
        ("an optional text of case 255", image(call=UPDATE, arguments=words(DATA), data={DATA: words(DATA, 0, 255)})),
        ("an optional number of case 2", image(call=PUT, arguments=words(DATA, 0, DATA, 0, DATA, 0, 2, 0))),
        ("labels at an odd address", image(call=COUNTER, arguments=words(DATA, 1, 0, 0, DATA + 3, 1))),
    ],
)
async def test_t20_a_pointer_or_a_case_that_cannot_be_traps(hostile: Guest, what: str, hostile_image: bytes) -> None:
    outcome, calls = await hand(hostile, hostile_image)
    assert isinstance(outcome.result, frames.Failed), what
    assert outcome.result.kind in ("trap", "response")
    assert calls.asked == []


async def test_t20_a_bool_of_many_bits_is_true_and_nothing_else(hostile: Guest) -> None:
    record = words(DATA, 0) + NOTHING * 3 + bytes([1, 254]) + b"\0\0"
    _, calls = await hand(hostile, image(call=UPDATE, arguments=words(DATA), data={DATA: record.ljust(80, b"\0")}))
    ((_, _, (_, (_, _, _, enabled, _, _))),) = calls.asked
    assert enabled is True


FLAGGED = """
  (component $inner
    (type $f (flags "a" "b" "c")) (export $flags "f" (type $f))
    (core module $m (func (export "take") (param i32) (result i32) (local.get 0)))
    (core instance $i (instantiate $m))
    (func (export "take") (param "x" $flags) (result u32) (canon lift (core func $i "take"))))
  (instance $inside (instantiate $inner))
"""


async def test_t20_flags_with_extra_bits_lose_them(guest_of: GuestOf) -> None:
    wat = guest(
        "(i32.store (i32.const 64) (call $take (i32.const -1))) (call $answer (i32.const 64) (i32.const 4))",
        imports=FLAGGED,
        lowered={"take": ("(param i32) (result i32)", '(canon lower (func $inside "take"))')},
    )
    assert await guest_of(native(wat)).numbers("<I") == (0b111,)
