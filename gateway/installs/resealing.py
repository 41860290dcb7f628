"""Moves every tenant's secrets to another sealing key, a batch at a time, without opening any of them.

A box that was moved names the new key, so a run that was interrupted goes on where it ended when it is started again.
What a runner cannot open stays and is told; the rest goes on. A box that somebody replaced in the meantime is left
alone: it was sealed with the key of that moment.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from gateway.store import notices
from gateway.store.platform import secrets
from gateway.store.platform.secrets import KeyUse, Sealed
from gateway.store.pool import Database
from shared.errors import BadGateway
from shared.limits import RESEAL_BATCH_MAX_COUNT
from shared.wire import ResealResponse, SecretEnvelope


class Runner(Protocol):
    """Seals anew."""

    async def reseal(self, envelopes: Sequence[SecretEnvelope], to_key_id: str) -> ResealResponse:
        """The boxes for `to_key_id`, in the same order. Raises `PlatformError`."""
        ...


class Stuck(msgspec.Struct, frozen=True, kw_only=True):
    """A secret that could not be moved: whose it is, and why."""

    tenant_id: str
    install_id: str
    name: str
    key_id: str
    code: str
    message: str


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """What one run did."""

    count: int
    stuck: tuple[Stuck, ...]


async def move_all(
    store: Database,
    runner: Runner,
    to_key_id: str,
    *,
    batch: int = RESEAL_BATCH_MAX_COUNT,
    progress: Callable[[int], None] = lambda _count: None,
) -> Moved:
    """Move every box that names another key to `to_key_id`.

    Args:
        batch: boxes of one call and one transaction.
        progress: told how many were moved so far.

    Raises:
        PlatformError: no runner can be asked, or it lacks the key; what was moved by then stays moved.
    """
    count, stuck, after = 0, list[Stuck](), None
    while True:
        async with store.platform() as tx:
            boxes = await secrets.of_other_keys(tx, to_key_id, after, batch)
        if not boxes:
            return Moved(count=count, stuck=tuple(stuck))
        answer = await runner.reseal([_envelope(box) for box in boxes], to_key_id)
        stuck += [_stuck(boxes[one.index], one.code, one.message) for one in answer.failures]
        count += await _store(store, boxes, answer.envelopes, to_key_id)
        progress(count)
        after = (boxes[-1].install_id, boxes[-1].name)


async def key_uses(store: Database) -> Sequence[KeyUse]:
    """How many boxes name each key: one that no box names can be destroyed."""
    async with store.platform() as tx:
        return await secrets.key_uses(tx)


async def _store(
    store: Database, boxes: Sequence[Sealed], envelopes: Sequence[SecretEnvelope | None], to_key_id: str
) -> int:
    moved: list[Sealed] = []
    async with store.platform() as tx:
        for box, envelope in zip(boxes, envelopes, strict=True):
            if envelope is None:
                continue
            ciphertext = _ciphertext(box, envelope, to_key_id)
            if await secrets.replace(tx, box, algorithm=envelope.algorithm, key_id=to_key_id, ciphertext=ciphertext):
                moved.append(box)
        for tenant_id, registry_id, install_id in {(box.tenant_id, box.registry_id, box.install_id) for box in moved}:
            change = notices.InstallChanged(tenant_id=tenant_id, registry_id=registry_id, install_id=install_id)
            await notices.announce(tx, change)  # else gateways would send the old boxes for as long as they cache
    return len(moved)


def _envelope(box: Sealed) -> SecretEnvelope:
    return SecretEnvelope(
        name=box.name,
        algorithm=box.algorithm,
        key_id=box.key_id,
        ciphertext_b64=base64.b64encode(box.ciphertext).decode(),
    )


def _ciphertext(box: Sealed, envelope: SecretEnvelope, to_key_id: str) -> bytes:
    """The new box. Raises `BadGateway` when it is for another secret or key than was asked for."""
    try:
        if (envelope.name, envelope.key_id) != (box.name, to_key_id):
            raise BadGateway("the runner answered with another secret or key than it was asked for")
        return base64.b64decode(envelope.ciphertext_b64, validate=True)
    except ValueError as error:  # binascii.Error, or a plain one when the text is not ASCII
        raise BadGateway("the runner answered with a box that is not base64") from error


def _stuck(box: Sealed, code: str, message: str) -> Stuck:
    return Stuck(
        tenant_id=box.tenant_id,
        install_id=box.install_id,
        name=box.name,
        key_id=box.key_id,
        code=code,
        message=message,
    )
