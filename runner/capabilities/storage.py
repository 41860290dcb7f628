"""storage: a guest keeps records of its install's own. WIT: shared/wit/storage.wit.

The gateway holds the records; it takes the call's host token and nothing else, so that a runner can touch only what
the running call may. Names and sizes are checked here first, since a refusal needs no round trip, and there again.

    missing     there is no such record
    conflict    the record has another revision
    denied      not granted, no host token, a limit or a quota
    internal    a name that is none, or the platform's own fault

`denied` and `internal` are explained in the debug stream, once for each reason: the error has no room for words.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from runner.capabilities.capability import Call, Capability
from shared import storage
from shared.deadline import Deadline
from shared.errors import (
    Forbidden,
    PlatformError,
    StorageNotFound,
    StorageRefused,
    StorageRevisionMismatch,
    StorageValidationFailed,
    Unauthorized,
)
from shared.storage import StorageDelete, StorageGet, StorageItem, StorageList, StoragePut
from shared.wire import Message

Entry = tuple[str, str, bytes, int]
"""`storage-entry`, its fields in WIT order."""

M = TypeVar("M", bound=Message)
T = TypeVar("T")

CAPABILITY: Final = Capability(name=storage.CAPABILITY, interface="storage")

_NO_TOKEN: Final = (
    "this call carries no host token, because it was made with the runner's service token; "
    "a call through the gateway carries one"
)


class Gateway(Protocol):
    """Asks the gateway on behalf of a running call."""

    async def ask(
        self, path: str, message: Message, kind: type[M], *, host_token: str, request_id: str, deadline: Deadline
    ) -> M:
        """The answer. Raises the `PlatformError` the gateway answered with, or `Internal` when it gave none."""
        ...


class Storage:
    """The records one call may use.

    Args:
        gateway: has them.
        call: whose they are.
    """

    def __init__(self, gateway: Gateway, call: Call) -> None:
        self._gateway, self._call = gateway, call
        self._explained: set[str] = set()

    async def get(self, namespace: str, key: str) -> tuple[bool, Entry | str]:
        """One record."""

        async def read() -> Entry:
            _check(namespace, key)
            asked = StorageGet(namespace=namespace, key=key, timeout_ms=self._left_ms())
            return _entry(namespace, await self._ask(storage.GET_PATH, asked, StorageItem))

        return await self._attempt("get", read)

    async def put(self, entry: tuple[str, str, bytes, int | None]) -> tuple[bool, Entry | str]:
        """Write one record; with a revision, only over that one (0: only if there is none)."""
        namespace, key, value, revision = entry

        async def write() -> Entry:
            _check(namespace, key)
            storage.check_value(value)
            if revision is not None and revision > storage.REVISION_MAX:
                raise StorageRevisionMismatch
            asked = StoragePut(namespace=namespace, key=key, value=value, revision=revision, timeout_ms=self._left_ms())
            written = await self._ask(storage.PUT_PATH, asked, storage.StorageWritten)
            return namespace, key, value, written.revision

        return await self._attempt("put", write)

    async def delete(self, namespace: str, key: str) -> tuple[bool, str | None]:
        """Remove one record; `missing` when there is none."""

        async def remove() -> None:
            _check(namespace, key)
            asked = StorageDelete(namespace=namespace, key=key, timeout_ms=self._left_ms())
            await self._ask(storage.DELETE_PATH, asked, storage.StorageDeleted)

        return await self._attempt("delete", remove)

    async def list_entries(self, namespace: str, cursor: str | None) -> tuple[bool, list[Entry] | str]:
        """The next records in key order, those strictly after the key `cursor`."""

        async def read() -> list[Entry]:
            storage.check_namespace(namespace)
            storage.check_cursor(cursor or "")
            asked = StorageList(namespace=namespace, cursor=cursor, timeout_ms=self._left_ms())
            page = await self._ask(storage.LIST_PATH, asked, storage.StorageItems)
            return [_entry(namespace, item) for item in page.items]

        return await self._attempt("list-entries", read)

    async def _attempt(self, function: str, work: Callable[[], Coroutine[Any, Any, T]]) -> tuple[bool, T | str]:
        """The WIT result of `work`."""
        try:
            return True, await work()
        except PlatformError as error:
            case = _case(error)
            if case in ("denied", "internal"):
                self._explain(f"storage.{function}: {case}: {error.detail}")
            return False, case

    async def _ask(self, path: str, message: Message, kind: type[M]) -> M:
        request = self._call.request
        if request.host_token is None:
            raise Forbidden(_NO_TOKEN)
        return await self._gateway.ask(
            path,
            message,
            kind,
            host_token=request.host_token,
            request_id=request.context.request_id,
            deadline=self._call.deadline,
        )

    def _explain(self, reason: str) -> None:
        if reason not in self._explained:
            self._explained.add(reason)
            self._call.recorder.record("warn", "system", reason)

    def _left_ms(self) -> int:
        return max(1, self._call.deadline.remaining_ms())


def capability(gateway: Gateway) -> Capability:
    """The capability, answered by a `Storage` for each call."""
    return Capability(name=CAPABILITY.name, interface=CAPABILITY.interface, open=partial(Storage, gateway))


def _check(namespace: str, key: str) -> None:
    storage.check_namespace(namespace)
    storage.check_key(key)


def _entry(namespace: str, item: StorageItem) -> Entry:
    return namespace, item.key, item.value, item.revision


def _case(error: PlatformError) -> str:
    match error:
        case StorageNotFound():
            return "missing"
        case StorageRevisionMismatch():
            return "conflict"
        case StorageValidationFailed():
            return "internal"
        case StorageRefused() | Forbidden() | Unauthorized():
            return "denied"
        case _:
            return "internal"
