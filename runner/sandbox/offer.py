"""What guests are offered: the world's interfaces, and which capability opens each.

A worker puts it together once, from the platform's world and the providers', and hands it to its zygote in a file of
memory. A zygote that takes the place of one that died offers the very same, whatever has become of the files since.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from shared.capabilities import INTERFACES
from shared.wit_parser import load_world
from shared.wit_types import World

Codec = Literal["own", "library"]
"""How values cross the boundary: by `runner.sandbox.codec` or by `runner.sandbox.library_codec`."""

OWN: Final = "own"


class Offer(msgspec.Struct, frozen=True):
    """One world of imports.

    Attributes:
        world: the interfaces with their functions and types, and the exported handler.
        capabilities: interface → capability, for each import.
        codec: how it is offered; `RUNNER_CODEC`.
    """

    world: World
    capabilities: dict[str, str]
    codec: Codec = OWN


def platform_offer() -> Offer:
    """What the platform answers by itself."""
    return Offer(load_world(), dict(INTERFACES))


@contextlib.contextmanager
def written(offer: Offer) -> Iterator[int]:
    """A descriptor of a file with `offer`, for the length of the block."""
    descriptor = os.memfd_create("offer", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(msgspec.msgpack.encode(offer))
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def read(data: bytes) -> Offer:
    """What `written` wrote; from nothing at all, what the platform answers by itself."""
    if not data:
        return platform_offer()
    return msgspec.msgpack.decode(data, type=Offer)
