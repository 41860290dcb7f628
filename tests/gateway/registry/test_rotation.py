"""Keys come and go: rotation, expiry, revocation, thresholds and publishers, judged at publish by one running gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.app import create_public_app, open_gateway
from gateway.settings import GatewaySettings
from shared.keys import PrivateKey
from shared.signing import add_signature, sign_statement
from tests.gateway.asgi import Client
from tests.gateway.bundles import Bundle, bundle
from tests.gateway.people import Host
from tests.gateway.registry_flow import finalize, install, refused
from tests.gateway.stub_compiler import StubCompiler

OLD, NEW, STRANGER = (PrivateKey(bytes([seed]) * 32) for seed in (71, 72, 73))
YESTERDAY, TOMORROW = (datetime.now(UTC) + timedelta(days=days) for days in (-1, 1))

Trust = Callable[..., None]


def anchor(key: PrivateKey, *publishers: str, **times: datetime) -> dict[str, Any]:
    """One key of a trust bundle in JSON."""
    return {
        "key_id": key.key_id,
        "public_key": key.public.pem(),
        "publishers": list(publishers or ("acme",)),
        **{name: at.isoformat() for name, at in times.items()},
    }


def jointly(one: Bundle, *signers: PrivateKey) -> Any:
    """One envelope with a signature of each."""
    first, *others = signers
    envelope = sign_statement(one.statement(), first)
    for key in others:
        envelope = add_signature(envelope, key)
    return msgspec.to_builtins(envelope)


@pytest.fixture(name="running")
async def a_gateway_that_reads_a_trust_file(
    settings: GatewaySettings, host: Host, tmp_path: Path
) -> AsyncIterator[tuple[Client, Trust]]:
    """A client of it, and how its trust bundle is replaced while it runs."""
    path = tmp_path / "trust.json"

    def write(*keys: dict[str, Any], threshold: int = 1) -> None:
        path.write_bytes(msgspec.json.encode({"version": 1, "threshold": threshold, "keys": keys}))

    write(anchor(OLD))
    async with open_gateway(msgspec.structs.replace(settings, trust_bundle=str(path))) as gateway:

        def trust(*keys: dict[str, Any], threshold: int = 1) -> None:
            write(*keys, threshold=threshold)
            assert gateway.trust.reload()

        yield Client(create_public_app(gateway), host.headers("acme")), trust


async def published(client: Client, compiler: StubCompiler, version: str, *signers: PrivateKey) -> Any:
    """What becomes of a version with these signatures."""
    one = bundle(version=version, salt="rotation")
    compiler.bundles[one.digest] = one.found()
    answer = await finalize(client, one, OLD, signature=jointly(one, *signers))
    return answer.json()["state"] if answer.status == 200 else (answer.status, answer.json()["code"])


async def test_a_key_is_rotated_while_what_the_old_one_signed_stays_installable(
    running: tuple[Client, Trust], compiler: StubCompiler
) -> None:
    client, trust = running
    assert await published(client, compiler, "1.0.0", OLD) == "ready"
    assert await published(client, compiler, "1.0.1", NEW) == (422, "signature_untrusted_key")
    trust(anchor(OLD), anchor(NEW))  # both, for as long as publishers need
    assert await published(client, compiler, "1.0.2", NEW) == "ready"
    assert await published(client, compiler, "1.0.3", OLD) == "ready"
    trust(anchor(OLD, not_after=YESTERDAY), anchor(NEW))
    assert await published(client, compiler, "1.0.4", OLD) == (422, "signature_key_expired")
    assert await published(client, compiler, "1.0.4", OLD, NEW) == "ready"
    assert (await install(client, "acme.crm", version="1.0.0")).status == 201  # expiry is a matter of publishing


async def test_a_key_is_not_valid_before_its_time(running: tuple[Client, Trust], compiler: StubCompiler) -> None:
    client, trust = running
    trust(anchor(OLD, not_before=TOMORROW))
    assert await published(client, compiler, "1.0.0", OLD) == (422, "signature_key_expired")
    trust(anchor(OLD, not_before=YESTERDAY, not_after=TOMORROW))
    assert await published(client, compiler, "1.0.0", OLD) == "ready"


async def test_what_a_revoked_key_signed_is_neither_published_nor_installed(
    running: tuple[Client, Trust], compiler: StubCompiler
) -> None:
    client, trust = running
    assert await published(client, compiler, "1.0.0", OLD) == "ready"
    trust(anchor(OLD, revoked_at=YESTERDAY), anchor(NEW))
    assert await published(client, compiler, "1.0.1", OLD) == (422, "signature_key_revoked")
    refused(await install(client, "acme.crm", version="1.0.0"), 422, "signature_key_revoked")


async def test_a_threshold_needs_as_many_keys_as_it_says(running: tuple[Client, Trust], compiler: StubCompiler) -> None:
    client, trust = running
    trust(anchor(OLD), anchor(NEW), threshold=2)
    assert await published(client, compiler, "1.0.0", OLD) == (422, "signature_threshold")
    assert await published(client, compiler, "1.0.0", OLD, STRANGER) == (422, "signature_threshold")
    assert await published(client, compiler, "1.0.0", OLD, NEW, STRANGER) == "ready"


async def test_a_key_publishes_for_its_publishers_only(running: tuple[Client, Trust], compiler: StubCompiler) -> None:
    client, trust = running
    trust(anchor(OLD, "globex"), anchor(NEW, "acme", "globex"))
    assert await published(client, compiler, "1.0.0", OLD) == (422, "signature_publisher_mismatch")
    assert await published(client, compiler, "1.0.0", NEW) == "ready"
