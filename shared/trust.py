"""The trust bundle (`SIGNING_TRUST_BUNDLE`): whose signatures count, for which publishers, and for how long.

Two forms, as a path or inline:

    PEM     `PUBLIC KEY` blocks (Ed25519): each is trusted for every publisher, without an end, threshold 1
    JSON    {"version": 1, "threshold": 1, "keys": [{"key_id", "public_key", "publishers": ["acme"],
             "not_before", "not_after", "revoked_at"}]}

In the JSON form `public_key` is a PEM block or the base64 of the raw 32 bytes, `key_id` must be the key's own, and
`publishers` must be there: `["*"]` says every publisher. Times are RFC 3339 with a zone, or null.

A bundle is never silently empty: without a key, or with a block nobody can read, it is refused. At the start that
stops the process; later the last good one stays in force and the problem is reported.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import structlog
from msgspec import Meta

from shared import strict_base64
from shared.errors import InvalidRequest
from shared.ids import publisher as parse_publisher
from shared.keys import KeyFormatError, PublicKey, public_keys
from shared.limits import TRUST_MAX_BYTES
from shared.strict_json import StrictJsonError, loads

ANY_PUBLISHER: Final = "*"

_Time = Annotated[datetime, Meta(tz=True)]


class TrustFormatError(ValueError):
    """A text that is not a trust bundle. The message says what would be valid, and never repeats a key."""


class TrustedKey(msgspec.Struct, frozen=True, kw_only=True):
    """One key and what it may vouch for.

    Attributes:
        publishers: whose bundles it may sign; `None` for everybody's.
        not_before: start of validity, judged when a bundle is published.
        not_after: end of validity, likewise.
        revoked_at: when set, nothing this key signed is accepted, whenever it was signed.
    """

    key: PublicKey
    publishers: frozenset[str] | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    revoked_at: datetime | None = None

    def may_sign_for(self, publisher: str) -> bool:
        """Whether this key may sign for `publisher`."""
        return self.publishers is None or publisher in self.publishers

    def valid_at(self, at: datetime) -> bool:
        """Whether `at` lies in the key's time of validity, both ends included."""
        started = self.not_before is None or self.not_before <= at
        return started and (self.not_after is None or at <= self.not_after)


class TrustBundle(msgspec.Struct, frozen=True):
    """Keys by key id, how many of them must sign, and the ids that the state feed revoked.

    Attributes:
        unsigned_allowed: `EXT_ALLOW_UNSIGNED`: a statement that nobody signed counts as well; a developer's machine.
    """

    keys: dict[str, TrustedKey]
    threshold: int = 1
    revoked: frozenset[str] = frozenset()
    unsigned_allowed: bool = False

    def is_revoked(self, key_id: str) -> bool:
        """Whether the key was revoked here or through the state feed."""
        known = self.keys.get(key_id)
        return key_id in self.revoked or (known is not None and known.revoked_at is not None)


# ---- reading ------------------------------------------------------------------------------------------------


class _Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    key_id: str
    public_key: str
    publishers: Annotated[tuple[str, ...], Meta(min_length=1)]
    not_before: _Time | None = None
    not_after: _Time | None = None
    revoked_at: _Time | None = None


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: Literal[1]
    threshold: Annotated[int, Meta(ge=1)] = 1
    keys: Annotated[tuple[_Key, ...], Meta(min_length=1)]


def parse_trust(text: str) -> TrustBundle:
    """The trust bundle that `text` writes, in either form. Raises `TrustFormatError`."""
    if len(text.encode("utf-8", "surrogatepass")) > TRUST_MAX_BYTES:
        raise TrustFormatError(f"the trust bundle is larger than {TRUST_MAX_BYTES} bytes")
    if text.lstrip().startswith("{"):
        return _from_json(text.strip())
    return _bundle([TrustedKey(key=key) for key in _pem_keys(text)], threshold=1)


def _pem_keys(text: str) -> list[PublicKey]:
    if "PRIVATE KEY" in text:
        raise TrustFormatError("the trust bundle holds a private key; it takes PUBLIC KEY blocks only")
    try:
        keys = public_keys(text)
    except KeyFormatError as error:
        raise TrustFormatError(f"the trust bundle must be Ed25519 PUBLIC KEY blocks or JSON: {error}") from error
    if text.count("-----BEGIN") != len(keys) or text.count("-----END") != len(keys):
        raise TrustFormatError("a PEM block of the trust bundle is damaged, or is not a PUBLIC KEY")
    return keys


def _from_json(text: str) -> TrustBundle:
    try:
        document = msgspec.convert(loads(text.encode(), max_bytes=TRUST_MAX_BYTES, max_depth=8), _Document)
    except (StrictJsonError, msgspec.ValidationError, UnicodeEncodeError) as error:
        raise TrustFormatError(f"the trust bundle is not valid: {error}") from error
    return _bundle([_trusted(index, key) for index, key in enumerate(document.keys)], document.threshold)


def _trusted(index: int, written: _Key) -> TrustedKey:
    where = f"keys[{index}]"
    key = _public_key(where, written.public_key)
    if written.key_id != key.key_id:
        raise TrustFormatError(f"{where}: key_id must be {key.key_id}, the first 16 hex digits of the key's SHA-256")
    if written.not_before and written.not_after and written.not_before > written.not_after:
        raise TrustFormatError(f"{where}: not_before must not be later than not_after")
    publishers: frozenset[str] | None = frozenset(written.publishers)
    if written.publishers == (ANY_PUBLISHER,):
        publishers = None
    else:
        try:
            for publisher in written.publishers:
                parse_publisher(publisher)
        except InvalidRequest as error:
            raise TrustFormatError(f'{where}: {error.detail}, or the list is exactly ["*"]') from error
    return TrustedKey(
        key=key,
        publishers=publishers,
        not_before=written.not_before,
        not_after=written.not_after,
        revoked_at=written.revoked_at,
    )


def _public_key(where: str, text: str) -> PublicKey:
    try:
        keys = _pem_keys(text) if "-----BEGIN" in text else [PublicKey(strict_base64.decode(text))]
    except ValueError as error:  # of which our own format errors are kinds
        raise TrustFormatError(f"{where}: public_key must be PEM, or base64 of the raw 32 bytes") from error
    if len(keys) != 1:
        raise TrustFormatError(f"{where}: public_key must be a single PUBLIC KEY block")
    return keys[0]


def _bundle(keys: list[TrustedKey], threshold: int) -> TrustBundle:
    unsound = [trusted.key.key_id for trusted in keys if not trusted.key.is_sound]
    if unsound:
        raise TrustFormatError(f"key {unsound[0]} is no point of the prime-order group; make keys with alga-ext keygen")
    by_id = {trusted.key.key_id: trusted for trusted in keys}
    if len(by_id) != len(keys):
        raise TrustFormatError("a key stands twice in the trust bundle; keep one")
    if threshold > len(by_id):
        raise TrustFormatError(f"threshold {threshold} can never be met by {len(by_id)} keys")
    return TrustBundle(by_id, threshold)


# ---- keeping up to date -------------------------------------------------------------------------------------


class TrustStore:
    """The trust bundle in force. Its generation rises with every change, so that cached verdicts can be dropped.

    Args:
        source: `SIGNING_TRUST_BUNDLE`: PEM or JSON text, or the path of a file with it.
        unsigned_allowed: `EXT_ALLOW_UNSIGNED`, which settings refuse outside of local mode.

    Raises:
        TrustFormatError: missing, unreadable or not valid; the process must not start.
    """

    def __init__(self, source: str, *, unsigned_allowed: bool = False) -> None:
        inline = "-----BEGIN" in source or source.lstrip().startswith("{")
        self._path = None if inline else Path(source)
        self._log = structlog.stdlib.get_logger()
        self._text = source if inline else self._read()
        self._bundle = msgspec.structs.replace(parse_trust(self._text), unsigned_allowed=unsigned_allowed)
        if unsigned_allowed:
            self._log.warning("unsigned_bundles_allowed", setting="EXT_ALLOW_UNSIGNED")
        self.generation = 1
        self.problem = ""
        """Why the last `reload` kept the old bundle; empty when there is nothing to report."""

    def current(self) -> TrustBundle:
        """The bundle in force."""
        return self._bundle

    def reload(self) -> bool:
        """Read the file again and take a changed bundle into force. An inline source never changes.

        A file that is missing or not valid changes nothing: the last good bundle stays, `problem` says why, and the
        first sight of each problem is logged as an error.

        Returns:
            Whether another bundle is in force now.
        """
        if self._path is None:
            return False
        try:
            text = self._read()
            parsed = parse_trust(text) if text != self._text else None
        except TrustFormatError as error:
            if str(error) != self.problem:
                self._log.error("trust_bundle_refused", problem=str(error), generation=self.generation)
            self.problem = str(error)
            return False
        self.problem = ""
        if parsed is None:
            return False
        self._text = text
        before = self._bundle
        self._bundle = msgspec.structs.replace(parsed, revoked=before.revoked, unsigned_allowed=before.unsigned_allowed)
        self.generation += 1
        self._log.info("trust_bundle_changed", keys=sorted(parsed.keys), generation=self.generation)
        return True

    def revoke(self, key_id: str) -> None:
        """Revoke a key, known here or not, for as long as this process lives: the state feed said so."""
        if key_id not in self._bundle.revoked:
            self._bundle = msgspec.structs.replace(self._bundle, revoked=self._bundle.revoked | {key_id})
            self.generation += 1

    def _read(self) -> str:
        assert self._path is not None
        try:
            with self._path.open("rb") as file:
                return file.read(TRUST_MAX_BYTES + 1).decode()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise TrustFormatError(f"the trust bundle {self._path} cannot be read: {reason}") from error
