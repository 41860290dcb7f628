"""Keeps the trust bundle current: the file is read again twice a minute, so a change acts everywhere within 60 s."""

from __future__ import annotations

import asyncio
from typing import Final, NoReturn

from shared.trust import TrustStore

EVERY_S: Final = 25.0  # two readings fit into the promised minute


async def watch_trust(trust: TrustStore) -> NoReturn:
    """Reload until cancelled. What cannot be read keeps the last good bundle in force; the store reports it."""
    while True:
        await asyncio.sleep(EVERY_S)
        trust.reload()  # not in a thread: a revocation from the state feed must not meet it half done
