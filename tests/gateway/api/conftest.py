"""One served gateway for the tests of a module, with a stub runner that echoes unless told otherwise."""

from tests.gateway.api.open_stream import debug_client, debug_redis, watched
from tests.gateway.api.secret_asking import asking, sealing
from tests.gateway.seeds import shared_database, tenant
from tests.gateway.serving import install, live, served

__all__ = [
    "asking",
    "debug_client",
    "debug_redis",
    "install",
    "live",
    "sealing",
    "served",
    "shared_database",
    "tenant",
    "watched",
]
