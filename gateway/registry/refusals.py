"""Refused signatures, noted with the publisher they speak of, so that somebody who keeps guessing is noticed.

The envelope is not to be believed: that is why it was refused. So the publisher it names counts only when the account
that sent it owns that name; nobody can have somebody else suspended.
"""

from __future__ import annotations

import msgspec
import structlog

from gateway.identity.actor import Actor
from gateway.store import publishers
from gateway.store.pool import Database
from shared import ids
from shared.errors import InvalidRequest, PlatformError, SignatureRefused
from shared.signing import decode_envelope
from shared.strict_base64 import StrictBase64Error, decode

_log = structlog.get_logger(__name__)


class _Named(msgspec.Struct, frozen=True):
    publisher: str = ""


async def note(store: Database, actor: Actor, signature: bytes, code: str) -> None:
    """Note that this envelope of the actor's account was refused with `code`. Raises nothing: the refusal comes first."""
    try:
        async with store.tenant(actor.tenant_id) as tx:
            await publishers.refused(tx, actor.tenant_id, named_publisher(signature), code)
    except PlatformError as error:
        _log.warning("refusal_not_noted", code=error.code)


def named_publisher(signature: bytes) -> str:
    """The publisher that an envelope claims to be about; empty when it cannot be read."""
    try:
        payload = decode(decode_envelope(signature).payload)
        return ids.publisher(msgspec.json.decode(payload, type=_Named).publisher)
    except (
        SignatureRefused,
        StrictBase64Error,
        InvalidRequest,
        msgspec.MsgspecError,
        UnicodeDecodeError,
        RecursionError,
    ):
        return ""
