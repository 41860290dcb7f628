"""One shared database, in which no test finds deliveries of an earlier one; a gateway for those tests that deliver."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway.events.telling import change
from tests.gateway.seeds import shared_database, shared_store, tenant
from tests.gateway.services import DatabaseUrls
from tests.gateway.serving import install, live, served

__all__ = ["install", "live", "served", "shared_database", "shared_store", "tenant"]


@pytest.fixture(autouse=True)
def nothing_is_due(request: pytest.FixtureRequest) -> Iterator[None]:
    """Before and after: a gateway delivers whatever waits, and what a stub was told for one event would befall another."""
    if "shared_database" not in request.fixturenames:
        yield
        return
    database: DatabaseUrls = request.getfixturevalue("shared_database")
    change(database, "delete from extension_event_delivery")
    yield
    change(database, "delete from extension_event_delivery")
