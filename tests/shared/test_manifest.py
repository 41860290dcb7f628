"""Manifest v2: what is accepted and what it then answers; its JSON Schema; any input."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from shared.capabilities import DEFAULTS, KNOWN
from shared.errors import ManifestInvalid
from shared.limits import (
    TIMEOUT_MAX_MS,
)
from shared.manifest import Manifest, manifest_schema, parse_manifest
from tests.shared.manifests import FULL, SMALL, parse

# ---- accepted -----------------------------------------------------------------------------------------------


def test_the_four_required_fields_are_enough():
    manifest = parse(SMALL)
    assert (manifest.name, manifest.publisher, manifest.version) == ("com.acme.tickets", "acme", "1.4.0")
    assert manifest.entry == "dist/main.wasm"
    assert manifest.limits.timeout_ms is None
    assert manifest.ui is None


def test_every_field_of_the_format_is_read():
    manifest = parse(FULL)
    assert manifest.ui is not None
    assert manifest.config is not None
    assert manifest.ui.hooks["appMenu"].label == "Tickets"
    assert manifest.ui.csp.connect_src == ("https://api.acme.example",)
    assert manifest.config.properties["retries"].maximum == 5
    assert manifest.permissions.secrets[0].hosts == ("api.acme.example",)
    assert manifest.events[0].handler == "/events"
    assert manifest.events[1].handler == "/closed"
    assert manifest.precompiled == {"x86_64-linux-gnu": "precompiled/main.cwasm"}


def test_a_manifest_written_out_is_read_back_as_itself():
    manifest = parse(FULL)
    assert parse_manifest(msgspec.json.encode(manifest)) == manifest


def test_capabilities_are_written_with_their_prefix():
    assert parse(FULL).capabilities == ("cap:http.fetch", "cap:storage.kv")


def test_an_operators_own_capability_is_accepted_where_it_is_known():
    document = json.dumps(SMALL | {"capabilities": ["parcel.track"]}).encode()
    assert parse_manifest(document, known=KNOWN | {"cap:parcel.track"}).capabilities == ("cap:parcel.track",)
    with pytest.raises(ManifestInvalid):
        parse_manifest(document)


@pytest.mark.parametrize("version", ["0.0.0", "1.2.3-rc.1", "1.0.0-x.7.z.92", "1.0.0+20130313144700", "1.0.0--.-"])
def test_a_semantic_version_is_accepted(version):
    assert parse(SMALL | {"version": version}).version == version


# ---- the schema ---------------------------------------------------------------------------------------------


def test_the_schema_is_valid_and_accepts_what_the_parser_accepts():
    schema = manifest_schema()
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(FULL)


def test_the_schema_has_every_field_in_camel_case_and_allows_no_null():
    fields = manifest_schema()["$defs"]["Manifest"]["properties"]
    assert set(fields) == set(FULL)
    assert '"null"' not in json.dumps(manifest_schema())


def test_the_schema_refers_to_itself_only():
    references = [part.split('"')[0] for part in json.dumps(manifest_schema()).split('"$ref": "')[1:]]
    assert references
    assert all(reference.startswith("#/$defs/") for reference in references)


# ---- helpers ------------------------------------------------------------------------------------------------


def test_wanted_capabilities_are_the_declared_ones_and_the_defaults_each_once():
    manifest = parse(SMALL | {"capabilities": ["http.fetch", "user.read"]})
    assert manifest.wanted_capabilities() == tuple(sorted({"cap:http.fetch", *DEFAULTS}))


def test_egress_entries_carry_their_reasons():
    entries = parse(FULL).egress_entries()
    assert [(entry.host, entry.reason) for entry in entries] == [
        ("https://api.acme.example", ""),
        ("*.acme.example:8443", "reads tickets"),
    ]


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("GET", "/tickets/7", "/tickets/:id"),
        ("GET", "/tickets/open", "/tickets/open"),
        ("HEAD", "/tickets/7", "/tickets/:id"),
        ("GET", "/", "/"),
        ("POST", "/sync", "/sync"),
        ("POST", "/tickets/7", None),
        ("GET", "/tickets/", None),
        ("GET", "/tickets", None),
        ("GET", "/tickets/7/", None),
        ("GET", "/tickets/7/8", None),
        ("GET", "/Tickets/7", None),
        ("GET", "", None),
    ],
)
def test_a_request_means_the_endpoint_that_matches_segment_by_segment(method, path, found):
    endpoint = parse(FULL).endpoint_for(method, path)
    assert (endpoint and endpoint.path) == found


def test_the_effective_timeout_is_the_least_that_is_asked_for():
    manifest = parse(FULL)
    assert manifest.effective_timeout_ms("GET", "/tickets/7") == 8_000
    assert manifest.effective_timeout_ms("POST", "/sync") == 20_000
    assert manifest.effective_timeout_ms("GET", "/nowhere") == 20_000
    assert parse(SMALL).effective_timeout_ms("GET", "/") == TIMEOUT_MAX_MS


# ---- any input ----------------------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers(-5, 40_000) | st.floats(allow_nan=False) | st.text(max_size=8)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


def _somewhere(document, value, steps):
    """`document` with `value` put where `steps` lead."""
    if not steps or not document or not isinstance(document, (dict, list)):
        return value
    keys = list(document) if isinstance(document, dict) else list(range(len(document)))
    key = keys[steps[0] % len(keys)]
    changed = document.copy()
    changed[key] = _somewhere(document[key], value, steps[1:])
    return changed


@given(value=JSON, steps=st.lists(st.integers(0, 30), min_size=1, max_size=5))
def test_any_value_anywhere_is_accepted_or_refused_with_a_path(value, steps):
    data = json.dumps(_somewhere(FULL, value, steps)).encode()
    try:
        manifest = parse_manifest(data)
    except ManifestInvalid as error:
        for found in error.extra["violations"]:
            assert found["path"].startswith("$")
            assert found["code"]
            assert found["message"]
    else:
        assert isinstance(manifest, Manifest)
        assert parse_manifest(msgspec.json.encode(manifest)) == manifest


@given(st.binary(max_size=80))
def test_any_bytes_are_accepted_or_refused(data):
    with pytest.raises(ManifestInvalid):
        parse_manifest(data)
