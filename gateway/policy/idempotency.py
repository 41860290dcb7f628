"""Idempotency keys: what counts as the same call, and what is remembered of one. Pure.

A key belongs to one principal, calling one path of one install: nobody else's key of the same name is the same key.
What is kept are bytes in Redis that another release of the gateway may read: members are added, never renamed.

Source: IETF draft-ietf-httpapi-idempotency-key-header-06, for the behaviour; the header's name is the platform's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from gateway.policy.access import READING
from shared.call_limits import IDEMPOTENCY_KEY_MAX_BYTES
from shared.errors import InvalidRequest

HEADER: Final = b"x-idempotency-key"
REPLAYED: Final = "x-ext-platform-replay"
WITHOUT: Final = "x-ext-platform-idempotency"
"""On an answer whose key was not honoured: `unavailable`, because Redis could not be asked."""


class Kept(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is remembered of a call, as MessagePack.

    Attributes:
        token: of whoever makes the call; only that one may end it.
        body_sha256: of the request's body, hex.
        state: `running` until the call has ended.
        status: of the answer.
        headers: of the answer, as they went to the client.
        body: of the answer; none when it was too large to keep.
        body_bytes, answer_sha256: its size, and its digest in hex.
        code, detail: of the guest's error, when there was no answer.
    """

    token: str
    body_sha256: str
    state: Literal["running", "done"] = "running"
    status: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes | None = None
    body_bytes: int = 0
    answer_sha256: str = ""
    code: str | None = None
    detail: str = ""


def key_of(headers: Iterable[tuple[bytes, bytes]], method: str) -> str | None:
    """The idempotency key of a request; none when it has none, or only reads.

    Raises:
        InvalidRequest: more than one key, or one that is empty, too long or not printable.
    """
    given = [value for name, value in headers if name == HEADER]
    if not given or method in READING:
        return None
    key = given[0]
    if len(given) > 1 or not 0 < len(key) <= IDEMPOTENCY_KEY_MAX_BYTES or not all(0x21 <= byte <= 0x7E for byte in key):
        raise InvalidRequest(
            f"{HEADER.decode()} stands once, with 1 to {IDEMPOTENCY_KEY_MAX_BYTES} printable ASCII characters"
        )
    return key.decode("ascii")


def scope(*, tenant_id: str, install_id: str, principal: str, method: str, path: str, query: str, key: str) -> str:
    """The name under which a call is remembered. Its parts are counted, so that none can reach into the next."""
    digest = hashlib.sha256()
    for part in (install_id, principal, method, path, query, key):
        data = part.encode()
        digest.update(len(data).to_bytes(4) + data)
    return f"idem:{{{tenant_id}}}:{digest.hexdigest()}"
