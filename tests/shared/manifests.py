"""The smallest and a full manifest, and how a test reads one or sees what is wrong with it."""

from __future__ import annotations

import json

import pytest

from shared.errors import ManifestInvalid
from shared.manifest import parse_manifest

SMALL = {"name": "com.acme.tickets", "publisher": "acme", "version": "1.4.0", "runtime": "wasm-js@1"}
FULL = SMALL | {
    "$schema": "/api/registry/schemas/manifest-v2.json",
    "manifestVersion": 2,
    "description": "Tickets.\nWith a second line.",
    "homepage": "https://acme.example/tickets?a=b",
    "license": "Apache-2.0",
    "icon": "ui/icon.svg",
    "capabilities": ["http.fetch", "cap:storage.kv"],
    "permissions": {
        "egress": ["https://api.acme.example", {"host": "*.acme.example:8443", "reason": "reads tickets"}],
        "secrets": [
            {"name": "api_key", "description": "of your account", "required": True, "hosts": ["api.acme.example"]}
        ],
    },
    "config": {
        "type": "object",
        "properties": {
            "region": {"type": "string", "enum": ["emea", "apac"], "default": "emea", "title": "Region"},
            "retries": {"type": "integer", "minimum": 0, "maximum": 5, "default": 3},
            "prefix": {"type": "string", "pattern": "^[A-Z]{2,4}-[0-9]+$", "default": "AB-1", "maxLength": 20},
        },
        "required": ["region"],
        "additionalProperties": False,
    },
    "limits": {"timeoutMs": 20_000, "memoryMb": 128},
    "ui": {
        "type": "iframe",
        "entry": "ui/dist/index.html",
        "hooks": {"appMenu": {"label": "Tickets"}, "clientPortalMenu": {"label": "My tickets"}},
        "csp": {"connectSrc": ["https://api.acme.example"], "imgSrc": ["https://*.acme.example"]},
    },
    "api": {
        "endpoints": [
            {"method": "GET", "path": "/tickets/:id", "timeoutMs": 8_000},
            {"method": "GET", "path": "/tickets/open", "handler": "list_open", "description": "open ones"},
            {"method": "POST", "path": "/sync", "schedulable": True},
            {"method": "GET", "path": "/"},
        ]
    },
    "events": [{"topic": "com.host.ticket.created"}, {"topic": "com.host.ticket.closed", "handler": "/closed"}],
    "entry": "dist/main.wasm",
    "precompiled": {"x86_64-linux-gnu": "precompiled/main.cwasm"},
    "assets": ["ui/**"],
    "sbom": "sbom.spdx.json",
}


def parse(document):
    return parse_manifest(json.dumps(document).encode())


def violations(document):
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(ManifestInvalid) as caught:
        parse_manifest(data)
    assert caught.value.status == 422
    return {(found["path"], found["code"]): found["message"] for found in caught.value.extra["violations"]}
