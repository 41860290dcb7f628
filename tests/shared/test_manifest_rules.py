"""Manifest v2: everything wrong is reported at once, by path, code and remedy."""

from __future__ import annotations

import json

import pytest

from shared.errors import ManifestInvalid
from shared.limits import (
    MANIFEST_LIST_MAX_COUNT,
    MANIFEST_MAX_BYTES,
    MANIFEST_TEXT_MAX_CHARS,
    MANIFEST_VIOLATIONS_MAX_COUNT,
    MEMORY_MAX_MB,
    TIMEOUT_MAX_MS,
)
from shared.manifest import parse_manifest
from tests.shared.manifests import SMALL, parse, violations

# ---- refused, by field --------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["name", "publisher", "version", "runtime"])
def test_a_required_field_that_is_missing_is_named(field):
    document = {name: value for name, value in SMALL.items() if name != field}
    assert list(violations(document)) == [(f"$.{field}", "required")]


REFUSED = [
    ("$.manifestVersion", "choice", {"manifestVersion": 1}),
    ("$.name", "format", {"name": "tickets"}),
    ("$.name", "format", {"name": "Com.Acme"}),
    ("$.name", "format", {"name": "com..acme"}),
    ("$.name", "length", {"name": "a." + "b" * 199}),
    ("$.name", "type", {"name": 7}),
    ("$.publisher", "format", {"publisher": "ac.me"}),
    ("$.publisher", "format", {"publisher": "a" * 101}),
    ("$.publisher", "format", {"publisher": ""}),
    ("$.version", "format", {"version": "1.0"}),
    ("$.version", "format", {"version": "01.0.0"}),
    ("$.version", "format", {"version": "1.0.0-01"}),
    ("$.version", "format", {"version": "v1.0.0"}),
    ("$.runtime", "choice", {"runtime": "node@22"}),
    ("$.homepage", "format", {"homepage": "http://acme.example"}),
    ("$.homepage", "format", {"homepage": "https://user@acme.example"}),
    ("$.homepage", "format", {"homepage": "javascript:alert(1)//https://"}),
    ("$.icon", "bundle_path", {"icon": "../icon.svg"}),
    ("$.icon", "bundle_path", {"icon": "icon.svg"}),
    ("$.icon", "type", {"icon": None}),
    ("$.capabilities[0]", "capability_unknown", {"capabilities": ["http.fech"]}),
    ("$.capabilities[0]", "format", {"capabilities": ["HTTP"]}),
    ("$.capabilities[1]", "capability_duplicate", {"capabilities": ["http.fetch", "cap:http.fetch"]}),
    ("$.capabilities", "type", {"capabilities": "http.fetch"}),
    ("$.permissions.egress[0]", "egress_entry", {"permissions": {"egress": ["https://a.example/path"]}}),
    ("$.permissions.egress[0].host", "egress_entry", {"permissions": {"egress": [{"host": "*"}]}}),
    ("$.permissions.egress[0].host", "required", {"permissions": {"egress": [{"reason": "x"}]}}),
    ("$.permissions.egress[0].why", "unknown_field", {"permissions": {"egress": [{"host": "a.example", "why": ""}]}}),
    ("$.permissions.egress[0]", "type", {"permissions": {"egress": [7]}}),
    (
        "$.permissions.egress[1]",
        "egress_duplicate",
        {"permissions": {"egress": ["a.example", "https://A.example:443"]}},
    ),
    ("$.permissions.secrets[0].name", "format", {"permissions": {"secrets": [{"name": "a b"}]}}),
    ("$.permissions.secrets[1].name", "secret_duplicate", {"permissions": {"secrets": [{"name": "a"}, {"name": "a"}]}}),
    (
        "$.permissions.secrets[0].hosts[0]",
        "egress_entry",
        {"permissions": {"secrets": [{"name": "a", "hosts": ["10.0.0.1"]}]}},
    ),
    ("$.limits.timeoutMs", "range", {"limits": {"timeoutMs": 0}}),
    ("$.limits.timeoutMs", "type", {"limits": {"timeoutMs": None}}),
    ("$.limits.timeoutMs", "type", {"limits": {"timeoutMs": "5000"}}),
    ("$.limits.timeoutMs", "type", {"limits": {"timeoutMs": 5000.0}}),
    ("$.limits.timeoutMs", "type", {"limits": {"timeoutMs": True}}),
    ("$.limits.memoryMb", "range", {"limits": {"memoryMb": -1}}),
    ("$.limits.memory_mib", "unknown_field", {"limits": {"memory_mib": -1}}),
    ("$.ui.type", "choice", {"ui": {"type": "script", "entry": "ui/index.html"}}),
    ("$.ui.entry", "required", {"ui": {"type": "iframe"}}),
    ("$.ui.entry", "bundle_path", {"ui": {"type": "iframe", "entry": "index.html"}}),
    ("$.ui.entry", "bundle_path", {"ui": {"type": "iframe", "entry": "ui/../manifest.html"}}),
    (
        '$.ui.hooks["app menu"]',
        "format",
        {"ui": {"type": "iframe", "entry": "ui/a.html", "hooks": {"app menu": {"label": "x"}}}},
    ),
    (
        "$.ui.hooks.appMenu.label",
        "required",
        {"ui": {"type": "iframe", "entry": "ui/a.html", "hooks": {"appMenu": {}}}},
    ),
    (
        "$.ui.csp.connectSrc[0]",
        "format",
        {"ui": {"type": "iframe", "entry": "ui/a.html", "csp": {"connectSrc": ["https://a.example; script-src *"]}}},
    ),
    ("$.ui.csp.imgSrc[0]", "format", {"ui": {"type": "iframe", "entry": "ui/a.html", "csp": {"imgSrc": ["*"]}}}),
    ("$.api.endpoints[0].method", "choice", {"api": {"endpoints": [{"method": "get", "path": "/"}]}}),
    ("$.api.endpoints[0].path", "format", {"api": {"endpoints": [{"method": "GET", "path": "tickets"}]}}),
    ("$.api.endpoints[0].path", "format", {"api": {"endpoints": [{"method": "GET", "path": "/a//b"}]}}),
    ("$.api.endpoints[0].path", "format", {"api": {"endpoints": [{"method": "GET", "path": "/a?b"}]}}),
    ("$.api.endpoints[0].path", "format", {"api": {"endpoints": [{"method": "GET", "path": "/a/:"}]}}),
    ("$.api.endpoints[0].path", "endpoint_path", {"api": {"endpoints": [{"method": "GET", "path": "/a/.."}]}}),
    (
        "$.api.endpoints[1].path",
        "endpoint_duplicate",
        {"api": {"endpoints": [{"method": "GET", "path": "/a/:x"}, {"method": "GET", "path": "/a/:y"}]}},
    ),
    ("$.events[0].topic", "format", {"events": [{"topic": "a b"}]}),
    ("$.events[1].topic", "event_duplicate", {"events": [{"topic": "a.b"}, {"topic": "a.b", "handler": "/x"}]}),
    ("$.events[0].handler", "format", {"events": [{"topic": "a.b", "handler": "events"}]}),
    ("$.entry", "bundle_path", {"entry": "/dist/main.wasm"}),
    ("$.entry", "bundle_path", {"entry": "dist/main.js"}),
    ("$.sbom", "bundle_path", {"sbom": "sbom.xml"}),
    ("$.assets[0]", "bundle_path", {"assets": ["**/*"]}),
    ('$.precompiled["x86_64-linux-gnu"]', "bundle_path", {"precompiled": {"x86_64-linux-gnu": "main.cwasm"}}),
    ("$.config.type", "choice", {"config": {"type": "array"}}),
    ("$.config.properties.a.type", "choice", {"config": {"type": "object", "properties": {"a": {"type": "object"}}}}),
    (
        "$.config.properties.a.$ref",
        "unknown_field",
        {"config": {"type": "object", "properties": {"a": {"type": "string", "$ref": "http://x"}}}},
    ),
    ("$.description", "length", {"description": "x" * (MANIFEST_TEXT_MAX_CHARS + 1)}),
    ("$.license", "control_character", {"license": "MIT\u0000"}),
    ("$.version", "control_character", {"version": "1.0.0\n"}),
    ("$.grants", "unknown_field", {"grants": []}),
]


@pytest.mark.parametrize(("path", "code", "change"), REFUSED, ids=[f"{path}-{code}" for path, code, _ in REFUSED])
def test_a_wrong_value_is_refused_by_path_and_code(path, code, change):
    assert list(violations(SMALL | change)) == [(path, code)]


def test_everything_wrong_is_reported_at_once():
    found = violations(
        {
            "publisher": "acme",
            "version": "1",
            "runtime": "wasm-js@1",
            "capabilities": ["http.fech"],
            "permissions": {"egress": ["*.com"]},
            "limits": {"memoryMb": MEMORY_MAX_MB + 1, "timeoutMs": TIMEOUT_MAX_MS + 1},
            "api": {"endpoints": [{"method": "GET", "path": "/a"}, {"method": "GET", "path": "/a"}]},
        }
    )
    assert set(found) == {
        ("$.name", "required"),
        ("$.version", "format"),
        ("$.capabilities[0]", "capability_unknown"),
        ("$.permissions.egress[0]", "egress_entry"),
        ("$.limits.memoryMb", "range"),
        ("$.limits.timeoutMs", "range"),
        ("$.api.endpoints[1].path", "endpoint_duplicate"),
    }


def test_a_message_says_what_would_be_valid():
    found = violations(SMALL | {"limits": {"memoryMb": 1_000}, "capabilities": ["http.fech"], "publsher": "x"})
    assert found["$.limits.memoryMb", "range"] == "must be a whole number of MiB from 1 to 256"
    assert found["$.capabilities[0]", "capability_unknown"].endswith("did you mean cap:http.fetch?")
    assert found["$.publsher", "unknown_field"].endswith("did you mean publisher?")


def test_the_detail_names_the_first_violation_and_how_many_more():
    with pytest.raises(ManifestInvalid, match=r"^\$\.limits\.memoryMb: must be .* \(and 1 more\)$") as caught:
        parse(SMALL | {"limits": {"memoryMb": 0, "timeoutMs": 0}})
    assert caught.value.extra["path"] == "$.limits.memoryMb"


# ---- limits -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("field", "most"), [("timeoutMs", TIMEOUT_MAX_MS), ("memoryMb", MEMORY_MAX_MB)])
def test_a_limit_may_be_asked_for_up_to_the_ceiling_and_no_further(field, most):
    parse(SMALL | {"limits": {field: 1}})
    parse(SMALL | {"limits": {field: most}})
    assert list(violations(SMALL | {"limits": {field: most + 1}})) == [(f"$.limits.{field}", "range")]


def test_a_list_is_accepted_up_to_its_limit_and_no_longer():
    def with_hosts(count):
        return SMALL | {"permissions": {"egress": [f"h{index}.example" for index in range(count)]}}

    assert len(parse(with_hosts(MANIFEST_LIST_MAX_COUNT)).egress_entries()) == MANIFEST_LIST_MAX_COUNT
    assert list(violations(with_hosts(MANIFEST_LIST_MAX_COUNT + 1))) == [("$.permissions.egress", "length")]


def test_a_name_is_accepted_up_to_200_characters():
    assert len(parse(SMALL | {"name": "a." + "b" * 198}).name) == 200


def test_a_manifest_is_read_up_to_its_size_limit_and_no_larger():
    padded = json.dumps(SMALL).encode().ljust(MANIFEST_MAX_BYTES)
    parse_manifest(padded)
    assert list(violations(padded + b" ")) == [("$", "size")]


def test_a_hostile_manifest_answers_with_a_bounded_list():
    assert len(violations(SMALL | {str(index): 1 for index in range(50_000)})) == MANIFEST_VIOLATIONS_MAX_COUNT
    assert len(violations(SMALL | {"capabilities": [1] * 100_000})) <= MANIFEST_VIOLATIONS_MAX_COUNT


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"[]", "type"),
        (b'"x"', "type"),
        (b"{", "json"),
        (b'{"capabilities": [], "capabilities": ["cap:http.fetch"]}', "duplicate_key"),
        (b'{"limits": {"timeoutMs": NaN}}', "number"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "depth"),
    ],
)
def test_a_document_no_two_readers_agree_on_is_refused(data, code):
    assert list(violations(data)) == [("$", code)]
