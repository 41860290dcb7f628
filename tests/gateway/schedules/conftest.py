"""A world of its own for each test: schedules are claimed across tenants, so nobody else's may be there."""

from __future__ import annotations

import pytest

from gateway.store.pool import Database
from tests.gateway.schedules.timing import World
from tests.gateway.services import DatabaseUrls


@pytest.fixture
def world(store: Database, database: DatabaseUrls) -> World:
    return World(store, database)
