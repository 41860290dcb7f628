"""Everything an install keeps, as lines of JSON (application/x-ndjson): for leaving, for moving, for a look.

    {"kind": "install", …}             what InstallView says, and `purge_after`
    {"kind": "config", …}              {"kind": "grants", …}
    {"kind": "history", …} …           newest first
    {"kind": "schedule", …} …          {"kind": "event_subscription", topic, handler} …
    {"kind": "secret", name} …         names only: nobody can read a value back
    {"kind": "record", namespace, key, value | value_base64, metadata, revision, …} …
    {"kind": "end", "records": n}      an export without this line is not whole

A value is `value` when its bytes are JSON on one line, and then stands there byte for byte; else `value_base64`.

Pages are short transactions, so that a slow reader holds nothing; a record that is there all the while stands in the
export once. The install is looked at again before the last line: an export of what was being removed does not end.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from gateway.identity.actor import Actor
from gateway.installs.changes import not_installed
from gateway.installs.views import ConfigView, InstallView, granted_view, history_view, view
from gateway.schedules.views import view as schedule_view
from gateway.storage.slots import Slots
from gateway.store import audit_log, exporting, install_history, installs, schedules, secrets
from gateway.store.exporting import Kept
from gateway.store.install_history import Entry
from gateway.store.installs import Config, Install
from gateway.store.pool import Database, Tx
from shared.limits import INSTALL_EXPORT_PAGE_MAX_COUNT, PAGE_MAX


class _Install(InstallView, frozen=True, kw_only=True):
    purge_after: datetime | None


class _Secret(msgspec.Struct, frozen=True, kw_only=True):
    name: str


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    namespace: str
    key: str
    value: msgspec.Raw | UnsetType = UNSET
    value_base64: str | UnsetType = UNSET
    metadata: msgspec.Raw | None
    revision: int
    expires_at: datetime | None
    created_at: datetime
    updated_at: datetime


class _End(msgspec.Struct, frozen=True, kw_only=True):
    records: int


# Between tokens of JSON only: inside a string both are escaped.
_ONE_LINE: Final = bytes.maketrans(b"\r\n", b"  ")


class Exports:
    """Exports of every tenant's installs, one tenant at a time.

    Args:
        store: where they are.
    """

    def __init__(self, store: Database) -> None:
        self._store = store
        self._slots = Slots()

    async def open(self, actor: Actor, install_id: str) -> AsyncIterator[bytes]:
        """The lines of an install that is there, or uninstalled and not purged yet. Raises `NotInstalled`."""
        async with self._store.tenant(actor.tenant_id) as tx:
            install = _there(await installs.by_id(tx, install_id))
            head, tail = await _head(tx, install), await _tail(tx, install)
            await audit_log.record(tx, actor.did("install.exported", "install", install.id))
        return self._lines(install, head, tail)

    async def _lines(self, install: Install, head: bytes, tail: bytes) -> AsyncIterator[bytes]:
        yield head
        async for entries in self._history(install):
            yield b"".join(_line("history", history_view(entry)) for entry in entries)
        yield tail
        count = 0
        async for records in self._records(install):
            count += len(records)
            yield b"".join(_line("record", _record(one)) for one in records)
        async with self._store.tenant(install.tenant_id) as tx:
            _there(await installs.by_id(tx, install.id))
        yield _line("end", _End(records=count))

    async def _history(self, install: Install) -> AsyncIterator[list[Entry]]:
        before, page = None, PAGE_MAX
        while page == PAGE_MAX:
            async with self._slots.turn(install.tenant_id), self._store.tenant(install.tenant_id) as tx:
                found = await install_history.page(tx, install.id, before, PAGE_MAX)
            yield found
            page, before = len(found), found[-1].id if found else None

    async def _records(self, install: Install) -> AsyncIterator[list[Kept]]:
        after, page = ("", ""), INSTALL_EXPORT_PAGE_MAX_COUNT
        while page == INSTALL_EXPORT_PAGE_MAX_COUNT:
            async with self._slots.turn(install.tenant_id), self._store.tenant(install.tenant_id) as tx:
                found = await exporting.records(tx, install.id, after, INSTALL_EXPORT_PAGE_MAX_COUNT)
            yield found
            page, after = len(found), (found[-1].namespace, found[-1].key) if found else after


def _there(install: Install | None) -> Install:
    if install is None or (install.purge_after is not None and install.purge_after <= datetime.now(UTC)):
        raise not_installed()
    return install


async def _head(tx: Tx, install: Install) -> bytes:
    """What stands before the history."""
    config = await installs.config(tx, install.id) or Config(config=b"{}", version=0)
    whole = _Install(**msgspec.structs.asdict(view(install)), purge_after=install.purge_after)
    return (
        _line("install", whole)
        + _line("config", ConfigView(config=msgspec.Raw(config.config), version=config.version))
        + _line("grants", granted_view(install))
    )


async def _tail(tx: Tx, install: Install) -> bytes:
    """What stands between the history and the records."""
    lines = [_line("schedule", schedule_view(one)) for one in await schedules.of_install(tx, install.id)]
    lines += [_line("event_subscription", one) for one in await exporting.subscriptions(tx, install.version_id)]
    lines += [_line("secret", _Secret(name=one.name)) for one in await secrets.of_install(tx, install.id)]
    return b"".join(lines)


def _record(kept: Kept) -> _Record:
    inline = _is_one_line_of_json(kept.value)
    return _Record(
        namespace=kept.namespace,
        key=kept.key,
        value=msgspec.Raw(kept.value) if inline else UNSET,
        value_base64=UNSET if inline else base64.b64encode(kept.value).decode(),
        metadata=None if kept.metadata is None else msgspec.Raw(kept.metadata.encode()),
        revision=kept.revision,
        expires_at=kept.expires_at,
        created_at=kept.created_at,
        updated_at=kept.updated_at,
    )


def _is_one_line_of_json(data: bytes) -> bool:
    if b"\n" in data or b"\r" in data:
        return False
    try:
        msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _line(kind: str, value: msgspec.Struct) -> bytes:
    """`value` with its kind as the first member, on one line."""
    return f'{{"kind":"{kind}",'.encode() + msgspec.json.encode(value)[1:].translate(_ONE_LINE) + b"\n"
