"""One served gateway for the tests of a module, with a stub runner that echoes unless told otherwise."""

from tests.gateway.seeds import shared_database, tenant
from tests.gateway.serving import install, live, served

__all__ = ["install", "live", "served", "shared_database", "tenant"]
