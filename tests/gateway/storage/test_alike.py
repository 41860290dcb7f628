"""The storage for tests that an SDK has and the real one answer alike: random guests cannot tell them apart.

On one side the Python runtime's mock; on the other the capability, the internal listener and PostgreSQL. That the
JavaScript mock equals the Python one is shown beside the SDKs.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.app import create_internal_app, open_gateway
from gateway.settings import GatewaySettings
from gateway.store.storage import Asker
from runner.capabilities.capability import Call
from runner.capabilities.storage import Storage
from runner.debug.recorder import Recorder
from shared import limits
from shared.deadline import Deadline
from shared.keys import PrivateKey
from shared.wire import Context, ExecuteRequest, Http
from tests.gateway.asgi import Client
from tests.gateway.services import DatabaseUrls
from tests.gateway.storage.guests import InProcess, host_token
from tests.gateway.storage.keeping import keeper

sys.path.insert(0, str(Path(__file__).parents[3] / "runner" / "sdk" / "python"))

from alga_extension import HostError, StorageEntry, mock_storage  # importable from here on only

Ask = tuple[str, tuple[Any, ...]]

NAMES = st.sampled_from(["n", "m", "ä", "", "a/b", "n" * 128, "n" * 129, "a\0b"])
KEYS = st.sampled_from(["a", "b", "B", "ä", "Z\uffff", "Z\U00010000", "%", "..", "", "a/b", "k" * 256, "k" * 257, "\0"])
CURSORS = st.none() | st.sampled_from(["", "a", "a/b", "Z", "Z\uffff", "k" * 256, "k" * 257, "a\0"])
VALUES = st.binary(max_size=3) | st.sampled_from([b"x" * limits.STORAGE_VALUE_MAX_BYTES, b"x" * 65537])
REVISIONS = st.none() | st.sampled_from([0, 1, 2, 3, 2**63 - 1, 2**63, 2**64 - 1])

USUAL_KEYS = st.sampled_from(["a", "b", "Z\uffff", "Z\U00010000"])
USUAL = st.one_of(
    st.tuples(st.just("get"), st.tuples(st.just("n"), USUAL_KEYS)),
    st.tuples(st.just("put"), st.tuples(st.just("n"), USUAL_KEYS, st.binary(max_size=3), REVISIONS)),
    st.tuples(st.just("delete"), st.tuples(st.just("n"), USUAL_KEYS)),
    st.tuples(st.just("list_entries"), st.tuples(st.just("n"), CURSORS)),
)
ODD = st.one_of(
    st.tuples(st.just("get"), st.tuples(NAMES, KEYS)),
    st.tuples(st.just("put"), st.tuples(NAMES, KEYS, VALUES, REVISIONS)),
    st.tuples(st.just("delete"), st.tuples(NAMES, KEYS)),
    st.tuples(st.just("list_entries"), st.tuples(NAMES, CURSORS)),
)
ASKS = st.lists(USUAL | USUAL | ODD, min_size=12, max_size=30)


def from_mock(storage: mock_storage.MockStorage, ask: Ask) -> Any:
    """What the mock says, as the sandbox's protocol has it."""
    name, arguments = ask
    try:
        if name == "put":
            namespace, key, value, revision = arguments
            return True, plain(storage.put(namespace, key, value, revision=revision))
        found: Any = getattr(storage, name)(*arguments)
    except HostError as error:
        return False, error.code
    return True, [plain(entry) for entry in found] if name == "list_entries" else found and plain(found)


def plain(entry: StorageEntry) -> tuple[str, str, bytes, int | None]:
    return entry.namespace, entry.key, entry.value, entry.revision


async def from_platform(storage: Storage, ask: Ask) -> Any:
    name, arguments = ask
    if name == "put":
        return await storage.put(arguments)  # type: ignore[arg-type]
    return await getattr(storage, name)(*arguments)


def guest_of(internal: Client, key: PrivateKey, asker: Asker) -> Storage:
    context = Context(
        request_id="r",
        tenant_id=asker.tenant_id,
        extension_id="e",
        install_id=asker.install_id,
        version_id="v",
        content_hash="c",
    )
    request = ExecuteRequest(context=context, http=Http(method="GET", path="/"), host_token=host_token(key, asker))
    return Storage(InProcess(internal), Call(request, Deadline.after_ms(30_000), Recorder(context, None)))


@pytest.fixture
def compare(settings: GatewaySettings, gateway_key: PrivateKey, database: DatabaseUrls) -> Any:
    """Runs questions on both sides, each time from nothing, and compares every answer."""
    with asyncio.Runner() as runner:
        opened = open_gateway(settings)
        gateway = runner.run(opened.__aenter__())
        internal = Client(create_internal_app(gateway))

        def both(asks: list[Ask]) -> None:
            mock = mock_storage.MockStorage()
            guest = guest_of(internal, gateway_key, keeper(database, "acme"))
            for at, ask in enumerate(asks):
                assert runner.run(from_platform(guest, ask)) == from_mock(mock, ask), (at, ask)

        yield both
        runner.run(opened.__aexit__(None, None, None))


@pytest.mark.slow
def test_whatever_a_guest_asks_both_answer_alike(compare: Callable[[list[Ask]], None]) -> None:
    @settings(max_examples=150, suppress_health_check=list(HealthCheck))
    @given(ASKS)
    def alike(asks: list[Ask]) -> None:
        compare(asks)

    alike()


def test_the_mock_has_the_platforms_limits() -> None:
    assert mock_storage.NAMESPACE_CHARS == limits.STORAGE_NAMESPACE_MAX_CHARS
    assert mock_storage.KEY_CHARS == limits.STORAGE_KEY_MAX_CHARS
    assert mock_storage.VALUE_BYTES == limits.STORAGE_VALUE_MAX_BYTES
    assert mock_storage.NAMESPACES == limits.STORAGE_NAMESPACES_MAX
    assert mock_storage.KEYS_PER_NAMESPACE == limits.STORAGE_KEYS_PER_NAMESPACE_MAX
    assert mock_storage.BYTES == limits.STORAGE_MAX_BYTES
    assert mock_storage.PAGE_ENTRIES == limits.STORAGE_PAGE_MAX_COUNT


@pytest.mark.slow
def test_both_end_at_the_same_number_of_namespaces_and_page_alike(compare: Callable[[list[Ask]], None]) -> None:
    namespaces: list[Ask] = [("put", (f"n{number}", "k", b"", None)) for number in range(34)]
    entries: list[Ask] = [("put", ("n0", f"k{number:03}", b"", None)) for number in range(105)]
    pages: list[Ask] = [("list_entries", ("n0", cursor)) for cursor in (None, "k098", "k099", "k104")]
    compare([*namespaces, ("delete", ("n3", "k")), *namespaces[-2:], *entries, *pages])


def test_both_order_keys_by_their_bytes(compare: Callable[[list[Ask]], None]) -> None:
    keys = ["Z\U00010000", "a", "ä", "Z\uffff", "B", "%", ".."]
    puts: list[Ask] = [("put", ("n", key, b"", None)) for key in keys]
    compare([*puts, *[("list_entries", ("n", cursor)) for cursor in (None, "", *keys)]])
