"""Which digests an engine has to have native code for: what the store says was accepted, or a list an operator gives.

A bundle is copied to its digest before it is checked, so a rejected one stands in the store too. What was accepted has
its manifest beside it (`sha256/<digest>/manifest.json`), which the gateway writes when a version has become ready.
Every accepted version counts, installed or not: a roll-back of an install must find its code as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from runner.bundles.objects import Objects
from shared import ids
from shared.deadline import Deadline
from shared.errors import BundleNotFound, InvalidRequest
from shared.ids import ContentHash, digest_hex
from shared.limits import MANIFEST_MAX_BYTES

BUNDLES: Final = "sha256/"
LIST_MAX_MS: Final = 300_000  # a page of a thousand names takes 0.1–1 s; this allows some hundred thousand
READ_MAX_MS: Final = 30_000


class DigestListError(ValueError):
    """A line of a list is not a digest. The text names the line and says what would be valid."""


async def stored_digests(objects: Objects) -> list[ContentHash]:
    """Every digest the store has something for, in order; names that are none are left out.

    Raises:
        BundleUnavailable: the store cannot be reached, or these credentials may not list it.
    """
    found: list[ContentHash] = []
    for name in await objects.folders(BUNDLES, Deadline.after_ms(LIST_MAX_MS)):
        try:
            found.append(ids.content_hash(name))
        except InvalidRequest:
            continue  # nothing of ours
    return found


async def was_accepted(objects: Objects, content_hash: ContentHash) -> bool:
    """Whether a version with this digest ever became ready. Raises `BundleUnavailable`."""
    try:
        await objects.read(
            f"{BUNDLES}{digest_hex(content_hash)}/manifest.json",
            max_bytes=MANIFEST_MAX_BYTES,
            deadline=Deadline.after_ms(READ_MAX_MS),
        )
    except BundleNotFound:
        return False
    return True


def listed_digests(lines: Iterable[str]) -> list[ContentHash]:
    """The digests of a list: one a line, with or without `sha256:`; what follows a blank and lines with `#` are notes.

    Raises:
        DigestListError: a line is something else.
    """
    found: dict[ContentHash, None] = {}
    for number, line in enumerate(lines, 1):
        word = line.partition("#")[0].split()
        if not word:
            continue
        try:
            found[ids.content_hash(word[0])] = None
        except InvalidRequest as error:
            raise DigestListError(
                f"line {number} must begin with sha256:<64 lower-case hex digits>, not {word[0][:80]!r}"
            ) from error
    return list(found)
