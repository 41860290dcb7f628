"""How the gateway connects to Redis: bounded in time and connections, and nothing is repeated behind our back."""

from __future__ import annotations

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff


def connect(url: str, *, answer_max_s: float, connections_max: int) -> Redis:
    """A client; it connects at its first command.

    Args:
        url: `redis://` or `rediss://`, user and password included.
        answer_max_s: how long a connection and each answer may take.
        connections_max: beyond it a command fails at once.
    """
    return Redis.from_url(
        url,
        protocol=2,
        socket_timeout=answer_max_s,
        socket_connect_timeout=answer_max_s,
        retry=Retry(NoBackoff(), 0),
        max_connections=connections_max,
    )
