"""Native code in the object store: two objects that verify together, or nothing.

Both roles read it here, the compiler to see whether work is left, a runner to run it; only the compiler's credentials
may write. Whoever finds something else under an artefact's name reports it and goes on as if there were nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, NamedTuple

from runner.aot import artefacts
from runner.aot.artefacts import ARTEFACT_STORED_MAX_BYTES, SIGNATURE_MAX_BYTES, ArtefactTamperedError, Expected
from runner.bundles.objects import Objects
from runner.bundles.tampering import Tampering
from shared.deadline import Deadline
from shared.errors import BundleNotFound, BundleUntrusted
from shared.keys import PublicKey

FETCH_MAX_S: Final = 30.0  # 256 MiB at 10 MiB/s; a usual artefact takes 0.1 s


class Pair(NamedTuple):
    """An artefact as it is stored, and its signature object."""

    stored: bytes
    signature: bytes


class StoredArtefacts:
    """See the module.

    Args:
        objects: the store.
        keys: of the compilers whose signatures count.
        tampering: told of what did not verify.
    """

    def __init__(self, objects: Objects, keys: Iterable[PublicKey], tampering: Tampering) -> None:
        self._objects = objects
        self._keys = tuple(keys)
        self._tampering = tampering

    async def read(self, expected: Expected, deadline: Deadline) -> Pair | None:
        """What a compiler signed for exactly this; `None` when it has to be made.

        Raises:
            BundleUnavailable: the store does not answer.
        """
        where = expected.engine_id, expected.component_sha256
        limit = deadline.sooner(FETCH_MAX_S * 1000)
        found = await asyncio.gather(
            self._objects.read(artefacts.object_key(*where), max_bytes=ARTEFACT_STORED_MAX_BYTES, deadline=limit),
            self._objects.read(artefacts.signature_key(*where), max_bytes=SIGNATURE_MAX_BYTES, deadline=limit),
            return_exceptions=True,
        )
        try:
            pair = Pair(*(_value(one) for one in found))
            await asyncio.to_thread(artefacts.verify, pair.signature, pair.stored, expected, self._keys)
        except BundleNotFound:
            return None
        except (BundleUntrusted, ArtefactTamperedError) as error:
            self._tampering.found("store", str(error), component=expected.component_sha256)
            return None
        return pair

    async def write(self, expected: Expected, pair: Pair, deadline: Deadline) -> None:
        """Store native code, then the signature without which nobody looks at it.

        Raises:
            BundleUnavailable: it could not be stored.
        """
        where = expected.engine_id, expected.component_sha256
        await self._objects.write(artefacts.object_key(*where), pair.stored, deadline)
        await self._objects.write(artefacts.signature_key(*where), pair.signature, deadline)


def _value(found: bytes | BaseException) -> bytes:
    if isinstance(found, BaseException):
        raise found
    return found
