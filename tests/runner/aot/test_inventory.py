"""Which digests count: what the store says was accepted, or what a list says, and never half of a list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.aot.inventory import DigestListError, listed_digests, stored_digests, was_accepted
from shared.errors import BundleUnavailable
from shared.ids import ContentHash, digest_hex
from tests.runner.memory_store import MemoryObjects

ONE, TWO = ContentHash("sha256:" + "1" * 64), ContentHash("sha256:" + "2" * 64)
hexes = st.binary(min_size=32, max_size=32).map(bytes.hex)


async def test_every_folder_named_like_a_digest_is_one():
    store = MemoryObjects(
        {
            f"sha256/{digest_hex(TWO)}/bundle.tar.zst": b"",
            f"sha256/{digest_hex(TWO)}/SIGNATURE.json": b"",
            f"sha256/{digest_hex(ONE)}/manifest.json": b"",
            "sha256/short/bundle.tar.zst": b"",
            f"sha256/{'A' * 64}/bundle.tar.zst": b"",
            f"staging/{'3' * 64}/bundle.tar.zst": b"",
        }
    )
    assert await stored_digests(store) == [ONE, TWO]


async def test_a_store_that_cannot_be_listed_is_an_error_and_not_an_empty_list():
    store = MemoryObjects()
    store.away = True
    with pytest.raises(BundleUnavailable):
        await stored_digests(store)


async def test_accepted_is_what_has_its_manifest_beside_it():
    store = MemoryObjects({f"sha256/{digest_hex(ONE)}/manifest.json": b"{}"})
    assert await was_accepted(store, ONE)
    assert not await was_accepted(store, TWO)
    store.away = True
    with pytest.raises(BundleUnavailable):
        await was_accepted(store, TWO)


@given(st.lists(st.tuples(hexes, st.booleans(), st.sampled_from(["", " acme 1.0", "\t# note", "  "]))))
def test_a_list_of_digests_is_read_in_order_without_doubles(rows: list[tuple[str, bool, str]]):
    lines = [f"{'sha256:' if prefix else ''}{digits}{note}\n" for digits, prefix, note in rows]
    wanted = list(dict.fromkeys(f"sha256:{digits}" for digits, _, _ in rows))
    assert listed_digests(["# a comment\n", "\n", *lines]) == wanted


@given(st.text(st.characters(codec="utf-8")).filter(lambda text: text.partition("#")[0].split()))
def test_anything_else_is_refused_with_the_number_of_its_line(text: str):
    try:
        found = listed_digests(["", text])
    except DigestListError as error:
        assert str(error).startswith("line 2 must begin with sha256:")
    else:
        assert len(found) == 1
        assert digest_hex(found[0]) in text
