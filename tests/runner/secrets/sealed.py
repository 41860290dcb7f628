"""Envelopes for tests, as the gateway makes them."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec

from shared.sealing import ALGORITHM, SealingKey, SecretPlaintext, encode_plaintext
from shared.wire import Context, SecretEnvelope
from tests.debug_events import EXTENSION

KEY = SealingKey(b"\1" * 32)
OLD_KEY = SealingKey(b"\2" * 32)
TENANT = "acme"
INSTALL = "018f3f2e-7b1a-7c3d-9e4f-000000000002"
CANARY = "canary-7f3a91c2-secret"
CONTEXT = Context(
    request_id="r-1",
    tenant_id=TENANT,
    extension_id=EXTENSION,
    install_id=INSTALL,
    version_id="018f3f2e-7b1a-7c3d-9e4f-000000000003",
    content_hash=f"sha256:{'ab' * 32}",
)


def envelope(
    name: str = "api_key",
    value: str = CANARY,
    *,
    key: SealingKey = KEY,
    owner: tuple[str, str, str] | None = None,
    **changes: Any,
) -> SecretEnvelope:
    """One secret; `owner` (tenant, install, name) makes the box somebody else's."""
    tenant, install, inside = owner or (TENANT, INSTALL, name)
    plaintext = encode_plaintext(SecretPlaintext(tenant=tenant, install=install, name=inside, value=value))
    fields = {"name": name, "algorithm": ALGORITHM, "key_id": key.key_id, "ciphertext_b64": boxed(plaintext, key)}
    return SecretEnvelope(**(fields | changes))


def several(values: dict[str, str], *, tenant: str = TENANT, install: str = INSTALL, **changes: Any) -> SecretEnvelope:
    """The older form: several secrets in one box."""
    plaintext = msgspec.json.encode({"tenant": tenant, "install": install, "secrets": values})
    fields = {"algorithm": ALGORITHM, "key_id": KEY.key_id, "ciphertext_b64": boxed(plaintext, KEY)}
    return SecretEnvelope(**(fields | changes))


def boxed(plaintext: bytes, key: SealingKey) -> str:
    """A box, as it travels."""
    return b64encode(key.public.seal(plaintext)).decode()
