"""storage towards a guest: every refusal a case of its error, each denied or failed one explained once."""

from __future__ import annotations

from typing import Any

import pytest

from runner.capabilities import storage as capability
from runner.capabilities.table import BY_INTERFACE, CAPABILITIES, with_services
from shared import errors, storage
from shared.errors import PlatformError
from shared.limits import STORAGE_KEY_MAX_CHARS, STORAGE_VALUE_MAX_BYTES
from shared.storage import StorageDelete, StorageGet, StorageItem, StorageList, StoragePut
from tests.runner.capabilities.gateway_guest import TOKEN, WORLD, Gateway, GatewayGuest


class Guest(GatewayGuest):
    """Calls the interface as a sandbox does."""

    offer = staticmethod(capability.capability)


CALLS: dict[str, tuple[Any, ...]] = {
    "get": ("n", "k"),
    "put": (("n", "k", b"v", None),),
    "delete": ("n", "k"),
    "list-entries": ("n", None),
}
every_function = pytest.mark.parametrize("function", CALLS)


async def test_each_function_is_one_question_with_the_calls_own_token() -> None:
    item = StorageItem(key="k", value=b"v", revision=3)
    guest = Guest(
        item, storage.StorageWritten(revision=4), storage.StorageDeleted(), storage.StorageItems(items=(item, item))
    )
    assert await guest.call("get", "n", "k") == (True, ("n", "k", b"v", 3))
    assert await guest.call("put", ("n", "k", b"w", 3)) == (True, ("n", "k", b"w", 4))
    assert await guest.call("delete", "n", "k") == (True, None)
    assert await guest.call("list-entries", "n", "j") == (True, [("n", "k", b"v", 3), ("n", "k", b"v", 3)])
    paths = [path for path, *_ in guest.gateway.asked]
    assert paths == [storage.GET_PATH, storage.PUT_PATH, storage.DELETE_PATH, storage.LIST_PATH]
    get, put, delete, listing = [message for _, message, *_ in guest.gateway.asked]
    assert isinstance(get, StorageGet)
    assert isinstance(put, StoragePut)
    assert isinstance(delete, StorageDelete)
    assert isinstance(listing, StorageList)
    assert (put.value, put.revision, listing.cursor) == (b"w", 3, "j")
    for _, message, _, about in guest.gateway.asked:
        assert (about["host_token"], about["request_id"]) == (TOKEN, "r-1")
        assert 4000 < message.timeout_ms <= 5000
    assert guest.events == []


def test_the_coroutines_are_the_functions_of_the_wit() -> None:
    functions = {function.name.replace("-", "_") for function in WORLD.interfaces["storage"].functions}
    assert functions == {name for name in vars(capability.Storage) if not name.startswith("_")}


def test_the_list_has_it_and_a_runner_without_a_gateway_does_not_answer() -> None:
    assert capability.CAPABILITY in CAPABILITIES
    assert BY_INTERFACE["storage"].open is None
    assert with_services(capability.capability(Gateway()))["storage"].open is not None
    assert set(with_services(capability.capability(Gateway()))) == set(BY_INTERFACE)


REFUSALS = [
    (errors.StorageNotFound(), "missing", False),
    (errors.StorageRevisionMismatch(), "conflict", False),
    (errors.StorageQuotaExceeded("a namespace may have at most 5120 keys"), "denied", True),
    (errors.StorageLimitExceeded("too large"), "denied", True),
    (errors.StorageNamespaceDenied("the install was changed"), "denied", True),
    (errors.StorageRateLimited(), "denied", True),
    (errors.StorageUnauthorized(), "denied", True),
    (errors.Forbidden("cap:storage.kv is not granted"), "denied", True),
    (errors.Unauthorized("a valid token is needed"), "denied", True),
    (errors.StorageValidationFailed("a key must be"), "internal", True),
    (errors.InvalidRequest(), "internal", True),
    (errors.AccessPolicyUnavailable(), "internal", True),
    (errors.Internal("the gateway gives no usable answer"), "internal", True),
]


@every_function
@pytest.mark.parametrize(("error", "case", "explained"), REFUSALS, ids=lambda value: getattr(value, "code", ""))
async def test_each_refusal_has_its_case_and_the_debug_stream_the_words(
    function: str, error: PlatformError, case: str, explained: bool
) -> None:
    guest = Guest(error)
    assert await guest.call(function, *CALLS[function]) == (False, case)
    told = [(event.level, event.message) for event in guest.events]
    assert told == ([("warn", f"storage.{function}: {case}: {error.detail}")] if explained else [])


@every_function
async def test_without_the_grant_it_is_denied_before_anybody_is_asked(function: str) -> None:
    guest = Guest(granted=False)
    assert await guest.call(function, *CALLS[function]) == (False, "denied")
    assert guest.gateway.asked == []
    assert "cap:storage.kv is not granted" in guest.events[0].message


@every_function
async def test_without_a_host_token_it_is_denied_and_says_why(function: str) -> None:
    guest = Guest(token=None)
    assert await guest.call(function, *CALLS[function]) == (False, "denied")
    assert guest.gateway.asked == []
    (event,) = guest.events
    assert "carries no host token" in event.message
    assert "service token" in event.message


@pytest.mark.parametrize("name", ["", "a/b", "../other-tenant/x", "a\x00b", "k" * (STORAGE_KEY_MAX_CHARS + 1)])
async def test_a_name_that_is_none_is_internal_and_nobody_is_asked(name: str) -> None:
    calls = [("get", name, "k"), ("get", "n", name), ("put", (name, "k", b"", None)), ("put", ("n", name, b"", None))]
    calls += [("delete", name, "k"), ("delete", "n", name), ("list-entries", name, None)]
    for function, *arguments in calls:
        guest = Guest()
        assert await guest.call(str(function), *arguments) == (False, "internal")
        assert guest.gateway.asked == []
        assert "characters without '/' and U+0000" in guest.events[0].message
        assert "other-tenant" not in guest.events[0].message


async def test_a_value_beyond_the_limit_is_denied_and_nobody_is_asked() -> None:
    guest = Guest(storage.StorageWritten(revision=1))
    whole = b"x" * STORAGE_VALUE_MAX_BYTES
    assert await guest.call("put", ("n", "k", whole, None)) == (True, ("n", "k", whole, 1))
    assert await guest.call("put", ("n", "k", whole + b"x", None)) == (False, "denied")
    assert len(guest.gateway.asked) == 1
    assert str(STORAGE_VALUE_MAX_BYTES) in guest.events[0].message


async def test_a_revision_nothing_counts_to_is_a_conflict_and_nobody_is_asked() -> None:
    guest = Guest()
    assert await guest.call("put", ("n", "k", b"", 2**64 - 1)) == (False, "conflict")
    assert guest.gateway.asked == []


async def test_the_same_reason_is_told_once() -> None:
    guest = Guest(*(errors.StorageQuotaExceeded("full") for _ in range(5)), errors.StorageQuotaExceeded("keys"))
    for _ in range(6):
        await guest.call("put", ("n", "k", b"", None))
    assert [event.message for event in guest.events] == ["storage.put: denied: full", "storage.put: denied: keys"]


@pytest.mark.parametrize("arguments", [(1, 2), (None, "k"), ("n",), ("n", "k", "more"), (["n"], "k")])
async def test_arguments_no_honest_sandbox_sends_are_a_failure_and_nothing_leaves(arguments: tuple[Any, ...]) -> None:
    guest = Guest()
    assert await guest.call("get", *arguments) == (False, "internal")
    assert guest.gateway.asked == []
