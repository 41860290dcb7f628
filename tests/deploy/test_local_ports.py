"""Ports: the default one, the next free one when it is taken, and the same ones again at a second start."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.failures import StackError
from deploy.local.ports import LOOPBACK, RANDOM_HIGH, RANDOM_LOW, SEARCH_MAX_PORTS, choose, next_free, random_free


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of loopback on which somebody listens."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, random_free()))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_free_default_is_taken() -> None:
    port = random_free()
    assert next_free(port) == port


def test_a_taken_default_gives_the_next_free_one(taken: int) -> None:
    assert taken < next_free(taken) < taken + SEARCH_MAX_PORTS


def test_two_names_never_share_a_port(tmp_path: Path) -> None:
    port = random_free()
    chosen = choose({"one": port, "two": port}, tmp_path / "ports.json")
    assert len(set(chosen.values())) == 2


def test_a_second_start_has_the_same_ports(tmp_path: Path) -> None:
    first = choose({"one": 1, "two": 2}, tmp_path / "ports.json", at_random=True)
    assert choose({"one": 1, "two": 2}, tmp_path / "ports.json", at_random=True) == first
    assert choose({"one": 1, "two": 2}, tmp_path / "ports.json") == first


def test_a_remembered_port_that_is_taken_now_moves_on(tmp_path: Path, taken: int) -> None:
    record = tmp_path / "ports.json"
    record.write_text(f'{{"one": {taken}}}')
    moved = choose({"one": 1}, record)["one"]
    assert taken < moved
    assert choose({"one": 1}, record)["one"] == moved


def test_random_ports_keep_away_from_outgoing_connections() -> None:
    assert all(RANDOM_LOW <= random_free() < RANDOM_HIGH + SEARCH_MAX_PORTS for _ in range(50))


def test_no_free_port_says_what_to_do() -> None:
    with pytest.raises(StackError, match="no free port") as caught:
        next_free(65_000, frozenset(range(65_000, 65_536)))
    assert "--ports random" in caught.value.report()
