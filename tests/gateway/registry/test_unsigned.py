"""Bundles nobody signed (threat T33): refused, and taken and marked only where `EXT_ALLOW_UNSIGNED` allows them."""

from __future__ import annotations

import msgspec
import pytest

from gateway.app import create_public_app, open_gateway
from gateway.settings import GatewaySettings
from shared.keys import PrivateKey
from shared.signing import unsigned_envelope
from tests.gateway.asgi import Client
from tests.gateway.bundles import bundle
from tests.gateway.people import Host
from tests.gateway.registry_flow import finalize, refused
from tests.gateway.stub_compiler import StubCompiler

ACME, OTHER = bundle(), bundle(version="1.0.1")
UNSIGNED = msgspec.to_builtins(unsigned_envelope(ACME.statement()))


@pytest.mark.security
async def test_t33_a_statement_nobody_signed_is_refused_before_anyone_unpacks_it(
    public: Client, compiler: StubCompiler, publisher_key: PrivateKey
) -> None:
    refused(await finalize(public, ACME, publisher_key, signature=UNSIGNED), 422, "signature_missing")
    assert compiler.requests == []


async def test_where_it_is_allowed_it_becomes_a_version_that_says_so(
    settings: GatewaySettings, compiler: StubCompiler, publisher_key: PrivateKey, host: Host
) -> None:
    compiler.bundles |= {ACME.digest: ACME.found(), OTHER.digest: OTHER.found()}
    async with open_gateway(msgspec.structs.replace(settings, allow_unsigned=True)) as gateway:
        client = Client(create_public_app(gateway), host.headers("acme"))
        taken = (await finalize(client, ACME, publisher_key, signature=UNSIGNED)).json()
        assert (taken["state"], taken["unsigned"]) == ("ready", True)
        again = await client.get(f"/api/registry/versions/{taken['version_id']}")
        assert again.json() == taken
        signed = (await finalize(client, OTHER, publisher_key)).json()
        assert (signed["state"], signed["unsigned"]) == ("ready", False)


@pytest.mark.security
async def test_where_it_is_allowed_everything_else_about_it_is_still_compared(
    settings: GatewaySettings, compiler: StubCompiler, publisher_key: PrivateKey, host: Host
) -> None:
    compiler.bundles[ACME.digest] = ACME.found(manifest=b"{}")
    stranger = PrivateKey(bytes([66]) * 32)
    about_another = msgspec.to_builtins(unsigned_envelope(OTHER.statement()))
    async with open_gateway(msgspec.structs.replace(settings, allow_unsigned=True)) as gateway:
        client = Client(create_public_app(gateway), host.headers("acme"))
        refused(await finalize(client, ACME, publisher_key, signature=about_another), 422, "content_hash_mismatch")
        refused(await finalize(client, ACME, stranger), 422, "signature_untrusted_key")
        refused(await finalize(client, ACME, publisher_key, signature=None), 422, "signature_missing")
        swapped = (await finalize(client, ACME, publisher_key, signature=UNSIGNED)).json()
        assert (swapped["state"], swapped["reason"]["code"]) == ("rejected", "content_hash_mismatch")


@pytest.mark.security
async def test_what_was_taken_unsigned_cannot_be_installed_where_signatures_are_needed(
    settings: GatewaySettings, compiler: StubCompiler, publisher_key: PrivateKey, host: Host, public: Client
) -> None:
    compiler.bundles[ACME.digest] = ACME.found()
    async with open_gateway(msgspec.structs.replace(settings, allow_unsigned=True)) as gateway:
        client = Client(create_public_app(gateway), host.headers("acme"))
        assert (await finalize(client, ACME, publisher_key, signature=UNSIGNED)).json()["state"] == "ready"
    wanted = {"extension": "acme.crm", "version": "1.0.0", "grants": {}}
    refused(await public.post("/api/installs", wanted), 422, "signature_missing")
