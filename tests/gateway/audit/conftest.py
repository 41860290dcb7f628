"""The database that the tests here share."""

from tests.gateway.seeds import shared_database, shared_store, tenant

__all__ = ["shared_database", "shared_store", "tenant"]
