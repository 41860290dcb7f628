"""Ports on loopback: the default one, else the next free one, and the same one again at the next start."""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from deploy.local.failures import StackError

LOOPBACK: Final = "127.0.0.1"
SEARCH_MAX_PORTS: Final = 200  # twenty stacks of ten ports each; more is a leak
RANDOM_LOW: Final = 20_000
RANDOM_HIGH: Final = 32_000  # below Linux' ephemeral range (32768), so that no outgoing connection takes one first


def is_free(port: int) -> bool:
    """Whether a listener could stand at `port` of loopback right now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port whose last connections are still in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def next_free(wanted: int, taken: frozenset[int] = frozenset()) -> int:
    """`wanted`, or the first free port above it that is not in `taken`. Raises `StackError` after 200 tries."""
    for port in range(wanted, min(wanted + SEARCH_MAX_PORTS, 65_536)):
        if port not in taken and is_free(port):
            return port
    raise StackError(
        f"no free port from {wanted} to {wanted + SEARCH_MAX_PORTS - 1}",
        next_step="stop what listens there (`ss -ltnp` lists it) or start with `--ports random`",
    )


def random_free(taken: frozenset[int] = frozenset()) -> int:
    """A free port that no default and no outgoing connection uses."""
    return next_free(random.randrange(RANDOM_LOW, RANDOM_HIGH), taken)  # noqa: S311 - a port is no secret


def choose(defaults: Mapping[str, int], record: Path, *, at_random: bool = False) -> dict[str, int]:
    """One free port for each name, remembered in the JSON file `record`.

    A remembered port is taken again while it is free, so that a second start has the same addresses.

    Args:
        defaults: the port each name would like.
        record: `{name: port}`; made or brought up to date.
        at_random: ignore `defaults` where nothing is remembered.
    """
    remembered = msgspec.json.decode(record.read_bytes(), type=dict[str, int]) if record.exists() else {}
    chosen: dict[str, int] = {}
    for name, default in defaults.items():
        taken = frozenset(chosen.values())
        if name in remembered:
            chosen[name] = next_free(remembered[name], taken)
        elif at_random:
            chosen[name] = random_free(taken)
        else:
            chosen[name] = next_free(default, taken)
    record.write_bytes(msgspec.json.format(msgspec.json.encode(chosen)) + b"\n")
    return chosen
