"""The digest and the clock every await of a request shares."""

from __future__ import annotations

import hashlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import digest
from shared.deadline import Deadline


def test_the_digest_is_sha256():  # FIPS 180-4, the example "abc"
    assert digest.sha256_hex(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest.content_hash_of(b"abc").startswith("sha256:ba7816bf")


@given(st.binary())
def test_bytes_and_files_have_the_same_digest(data):
    assert digest.sha256_hex(memoryview(data)) == digest.sha256_hex(bytearray(data)) == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("size", [0, digest.CHUNK_BYTES - 1, digest.CHUNK_BYTES, digest.CHUNK_BYTES + 1])
def test_a_file_is_digested_whole_around_the_chunk_size(tmp_path, size):
    path = tmp_path / "file"
    path.write_bytes(b"x" * size)
    assert digest.file_sha256_hex(path) == digest.sha256_hex(b"x" * size)


def at(monkeypatch, now_s):
    monkeypatch.setattr(time, "monotonic", lambda: now_s)


def test_what_remains_shrinks_to_zero_and_not_below(monkeypatch):
    at(monkeypatch, 100.0)
    deadline = Deadline.after_ms(1500)
    assert (deadline.remaining_s(), deadline.remaining_ms(), deadline.passed()) == (1.5, 1500, False)
    at(monkeypatch, 101.4999)
    assert (deadline.remaining_ms(), deadline.passed()) == (0, False)
    at(monkeypatch, 101.5)
    assert (deadline.remaining_s(), deadline.passed()) == (0.0, True)
    at(monkeypatch, 200.0)
    assert (deadline.remaining_s(), deadline.remaining_ms(), deadline.passed()) == (0.0, 0, True)


def test_milliseconds_are_rounded_down_so_that_the_inner_side_gives_up_first(monkeypatch):
    at(monkeypatch, 0.0)
    assert Deadline(0.0019).remaining_ms() == 1


def test_a_deadline_can_only_come_nearer(monkeypatch):
    at(monkeypatch, 10.0)
    deadline = Deadline.after_ms(1000)
    assert deadline.sooner(500) == Deadline(10.5)
    assert deadline.sooner(5000) == deadline


def test_the_wall_clock_has_no_say(monkeypatch):
    deadline = Deadline.after_ms(60_000)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert not deadline.passed()
    assert deadline.remaining_ms() > 59_000
