"""Keeps the trust bundle current: a changed file acts within two seconds, so that who adds a key can use it at once.

The file is read, not only looked at: a few kilobytes cost some twenty microseconds, and no change is missed that keeps
date and size, as one in a mounted volume may.
"""

from __future__ import annotations

import asyncio
from typing import Final, NoReturn

from shared.limits import TRUST_POLL_S
from shared.trust import TrustStore

EVERY_S: Final = TRUST_POLL_S


async def watch_trust(trust: TrustStore) -> NoReturn:
    """Reload until cancelled. What cannot be read keeps the last good bundle in force; the store reports it."""
    while True:
        await asyncio.sleep(EVERY_S)
        trust.reload()  # not in a thread: a revocation from the state feed must not meet it half done
