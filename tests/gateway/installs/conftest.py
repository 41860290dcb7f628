"""The database that the tests here share, and an install to follow through its versions."""

import pytest

from shared.keys import PrivateKey
from tests.gateway.asgi import Client
from tests.gateway.installs.versions import Life
from tests.gateway.seeds import shared_database, shared_store, tenant
from tests.gateway.services import DatabaseUrls
from tests.gateway.stub_compiler import StubCompiler

__all__ = ["life", "shared_database", "shared_store", "tenant"]


@pytest.fixture
def life(public: Client, compiler: StubCompiler, publisher_key: PrivateKey, database: DatabaseUrls) -> Life:
    """Nothing is published yet."""
    return Life(public, compiler, publisher_key, database)
