"""Identifiers: what passes the door and what does not."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import ids
from shared.errors import InvalidRequest

UUID = "018f3f2e-7b1a-7c3d-9e4f-0123456789ab"
HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize("text", ["a", "A-z_09", "acme", "x" * 63, "x" * 64, "-", UUID])
def test_a_tenant_id_is_a_short_word(text):
    assert ids.tenant_id(text) == text


@pytest.mark.parametrize("text", ["", "x" * 65, "a b", "a.b", "a:b", "a}", "*", "ä", "acme\n", "a/b", "../x", "a\x00"])
def test_any_other_tenant_id_is_refused(text):
    with pytest.raises(InvalidRequest, match="1-64"):
        ids.tenant_id(text)


@pytest.mark.parametrize("text", ["acme", "a-1", "x" * 99, "x" * 100])
def test_a_publisher_is_a_slug(text):
    assert ids.publisher(text) == text


@pytest.mark.parametrize("text", ["", "x" * 101, "Acme", "a.b", "a_b", "acme\n", "ä"])
def test_any_other_publisher_is_refused(text):
    with pytest.raises(InvalidRequest, match="1-100"):
        ids.publisher(text)


@pytest.mark.parametrize("parse", [ids.extension_id, ids.install_id, ids.version_id])
def test_registry_ids_are_canonical_uuids(parse):
    assert parse(UUID) == UUID
    for text in (
        "",
        UUID.upper(),
        UUID.replace("-", ""),
        f"{{{UUID}}}",
        f"urn:uuid:{UUID}",
        f"{UUID}\n",
        f" {UUID}",
        "acme.hello",
    ):
        with pytest.raises(InvalidRequest, match="lower-case UUID"):
            parse(text)


@pytest.mark.parametrize("text", [HEX, f"sha256:{HEX}"])
def test_a_content_hash_is_always_written_with_its_prefix(text):
    digest = ids.content_hash(text)
    assert digest == f"sha256:{HEX}"
    assert ids.digest_hex(digest) == HEX


@pytest.mark.parametrize(
    "text",
    ["", HEX[:-1], HEX + "0", HEX.upper(), f"sha512:{HEX}", f"SHA256:{HEX}", f"sha256:{HEX}\n", f"sha256:sha256:{HEX}"],
)
def test_any_other_content_hash_is_refused(text):
    with pytest.raises(InvalidRequest, match="64 lower-case hex"):
        ids.content_hash(text)


@pytest.mark.parametrize("text", ["r-1", UUID, "a" * 127, "a" * 128, "A.b:c_d"])
def test_a_harmless_request_id_is_kept(text):
    assert ids.request_id(text) == text


@pytest.mark.parametrize("text", [None, "", "a" * 129, "a b", "a\r\nx: y", "ä", '"'])
def test_any_other_request_id_is_replaced_by_a_fresh_one(text):
    fresh = ids.request_id(text)
    assert fresh != text
    assert uuid.UUID(fresh).version == 4


@given(st.text())
def test_no_text_passes_that_could_break_a_log_line_a_key_or_a_path(text):
    for parse in (ids.tenant_id, ids.publisher, ids.extension_id, ids.content_hash):
        try:
            value = parse(text)
        except InvalidRequest:
            continue
        assert not set(value) & set("/\\{}*?[]\r\n\x00 '\"")
