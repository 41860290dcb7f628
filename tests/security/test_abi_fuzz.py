"""Whatever bytes a guest hands to the host, its process answers or traps; it never aborts. Row T20, by chance.

Two seconds for each string encoding, or as long as a busy machine needs for a hundred examples; `SECURITY_FUZZ_S` makes
it longer. A failure names the seed and the number of the
example; `SECURITY_FUZZ_SEED` repeats them.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator

import pytest

from runner.sandbox import frames
from runner.sandbox.process import Died
from shared.limits import LIFTED_LIST_MAX_COUNT, LIFTED_MAX_BYTES
from tests.runner.sandbox.driving import Recorded
from tests.security.guests import ENCODINGS, IMAGE, image, native, raw, words
from tests.security.processes import Guest

FUZZ_S = float(os.environ.get("SECURITY_FUZZ_S", "2"))
SEED = int(
    os.environ.get("SECURITY_FUZZ_SEED", "1" if os.environ.get("CI") else str(random.SystemRandom().getrandbits(32)))
)
EXAMPLES_MIN = 100
GRANTS = ("cap:http.fetch", "cap:log.emit", "cap:metrics.emit", "cap:scheduler.manage", "cap:storage.kv")
DATA, DATA_BYTES = IMAGE + 128, 2048
MEMORY_END = 16 * 65_536

TEXTS = (
    *(b"plain", "äöü€𝄞".encode(), "ä€x".encode("utf-16-le"), b"\xe4\xf6"),
    *(b"\x00\xd8", b"\x00\xdc", b"\x00\xd8\x00\xd8", b"\x00\xdc\x00\xd8", b"a\0\x00\xd8b\0"),  # surrogates in UTF-16
    *(b"\xed\xa0\x80", b"\xed\xb0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\xff\xfe", b"\x80", b"\xc3"),
)
ODD = (0, 1, 2, 3, 4, 7, 8, 255, 256, 2**15, 2**16 - 1, 2**24, 2**28, 2**31 - 1, 2**31, 2**31 + 3, 2**32 - 8, 2**32 - 1)


def number(chance: random.Random) -> int:
    """A word that is a pointer, a length, a case or nonsense."""
    kind = chance.randrange(6)
    if kind == 0:
        return chance.choice(ODD)
    if kind == 1:
        return MEMORY_END - chance.choice((0, 1, 2, 4, 16))
    if kind == 2:
        return chance.getrandbits(32)
    if kind == 3:
        return chance.randrange(40)
    return DATA + chance.randrange(DATA_BYTES) // chance.choice((1, 4)) * chance.choice((1, 4))


def example(chance: random.Random) -> bytes:
    """One image: a call or none, arguments, and a region in which records, texts and nonsense lie about."""
    region = bytearray()
    while len(region) < DATA_BYTES:
        if chance.random() < 0.4:
            region += chance.choice(TEXTS)
        elif chance.random() < 0.5:
            region = region.ljust(-(-len(region) // 8) * 8, b"\0")
            region += words(*(number(chance) for _ in range(chance.randrange(1, 12))))
        else:
            region += chance.randbytes(chance.randrange(1, 16))
    return image(
        number(chance),
        grow_pages=chance.choice((0, 0, 1, 40)),
        call=chance.randrange(6),
        arguments=words(*(number(chance) for _ in range(10))),
        data={DATA: bytes(region)},
    )


def texts(value: object) -> Iterator[str | bytes]:
    """Every text in a value."""
    if isinstance(value, str | bytes):
        yield value
    elif isinstance(value, list | tuple):
        assert len(value) <= LIFTED_LIST_MAX_COUNT
        for item in value:
            yield from texts(item)


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_t20_whatever_is_handed_over_is_a_clean_value_or_a_trap(
    encoding: str, guest_of: Callable[[bytes], Guest]
) -> None:
    guest, chance = guest_of(native(raw(encoding))), random.Random(f"{SEED} {encoding}")
    ends: dict[str, int] = {}
    until_s, count = time.monotonic() + FUZZ_S, 0
    while time.monotonic() < until_s or count < EXAMPLES_MIN:
        count += 1
        calls = Recorded()
        outcome = await guest.call(body=example(chance), headers=[], timeout_ms=5000, grants=GRANTS, calls=calls)
        where = f"SECURITY_FUZZ_SEED={SEED}, example {count}: {outcome.result}"
        assert not isinstance(outcome.result, Died), where
        if isinstance(outcome.result, frames.Failed):
            assert outcome.result.kind in ("trap", "response", "memory"), where
        for text in texts([calls.asked, calls.lines, getattr(outcome.result, "headers", [])]):
            assert len(text) <= LIFTED_MAX_BYTES, where
            if isinstance(text, str):
                text.encode()  # no lone surrogate has come through
        end = outcome.result.kind if isinstance(outcome.result, frames.Failed) else "answer"
        ends[end] = ends.get(end, 0) + 1
    assert {"answer", "trap"} <= set(ends), ends  # it is tried from both sides
