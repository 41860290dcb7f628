"""One shared database, records of one tenant each."""

from __future__ import annotations

import pytest

from gateway.storage.records import Records
from gateway.store.pool import Database
from gateway.store.storage import Asker
from tests.gateway.seeds import shared_database, shared_store, tenant
from tests.gateway.services import DatabaseUrls
from tests.gateway.storage.keeping import keeper

__all__ = ["shared_database", "shared_store", "tenant"]


@pytest.fixture
def records(shared_store: Database) -> Records:
    """Every install's records."""
    return Records(shared_store)


@pytest.fixture
def asker(shared_database: DatabaseUrls, tenant: str) -> Asker:
    """A running guest of this test's own install."""
    return keeper(shared_database, tenant)
