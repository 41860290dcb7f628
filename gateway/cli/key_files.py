"""An author's signing key: where it lies, who may read it, and how a local stack comes to trust it."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.cli.credentials import configuration
from gateway.cli.failures import CliError
from shared.keys import KeyFormatError, PrivateKey, PublicKey
from shared.limits import TRUST_MAX_BYTES
from shared.trust import TrustBundle, TrustFormatError, TrustStore, parse_trust

VARIABLE: Final = "ALGA_EXT_KEY"


def default_key(environment: Mapping[str, str]) -> Path:
    """The signing key when none is named: `ALGA_EXT_KEY`, else `alga-ext/signing.pem` in the user's configuration.

    Outside of every project, so that no key is packed or committed by accident.
    """
    if environment.get(VARIABLE):
        return Path(environment[VARIABLE])
    return configuration(environment) / "signing.pem"


def public_of(private: Path) -> Path:
    """Where the public half of a key file lies: beside it."""
    return private.with_name(f"{private.stem}.pub.pem")


def write_new(private: Path) -> PrivateKey:
    """A fresh key at `private` (mode 0600, its folder 0700 if made) and its public half beside it.

    Raises:
        FileExistsError: there is a key already; it is never overwritten.
        OSError: it cannot be written.
    """
    private.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = PrivateKey.generate()
    key.write(private)
    public_of(private).write_text(key.public.pem(), encoding="ascii")
    return key


def load(path: Path) -> PrivateKey:
    """The signing key in a file. Raises `CliError` when there is none, or others may read it."""
    try:
        exposed = stat.S_IMODE(path.stat().st_mode) & 0o077
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not PEM"
        raise CliError(
            f"the signing key {path} cannot be read: {reason}",
            next_step="make one with alga-ext keygen, or name one with --key",
            code="cli_no_key",
        ) from error
    if exposed:
        raise CliError(
            f"others than you may read or change the signing key {path}",
            next_step=f"chmod 600 {path}, and make a new key if somebody may have read this one",
            code="cli_key_exposed",
        )
    try:
        return PrivateKey.from_pem(text)
    except KeyFormatError as error:
        raise CliError(
            f"{path} is no Ed25519 private key: {error}",
            next_step="make one with alga-ext keygen, or with openssl genpkey -algorithm ed25519",
            code="cli_no_key",
        ) from error


# ---- the local stack's trust --------------------------------------------------------------------------------


class _Document(msgspec.Struct, kw_only=True):
    """The JSON form of a trust bundle, as far as a key is added to it; other members stay as they are."""

    version: int = 1
    threshold: int = 1
    keys: list[dict[str, Any]]


def read_trust(source: str) -> TrustBundle:
    """The trust bundle in a file, or written out as `SIGNING_TRUST_BUNDLE` may be. Raises `CliError`."""
    try:
        return TrustStore(source).current()
    except TrustFormatError as error:
        raise _no_trust(str(error)) from error


def trust_key(path: Path, key: PublicKey, publishers: tuple[str, ...]) -> bool:
    """Add `key` to the trust bundle in a file, for these publishers; a key that is there gets those it lacks.

    The file is replaced in one step, keeping its mode, so that a service never reads half of it.

    Returns:
        Whether anything had to be written.

    Raises:
        CliError: the file is not a trust bundle, or the key was revoked there.
    """
    text = _text(path)
    known = _parsed(text, path).keys.get(key.key_id)
    if known is not None and known.revoked_at is not None:
        raise CliError(
            f"the key {key.key_id} was revoked in {path}",
            next_step="make another one: alga-ext keygen -o FILE --trust-local",
            code="signature_key_revoked",
        )
    if known is not None and all(known.may_sign_for(name) for name in publishers):
        return False
    written = _with_key(text, key, publishers)
    _parsed(written, path)
    _replace(path, written)
    return True


def _with_key(text: str, key: PublicKey, publishers: tuple[str, ...]) -> str:
    if not text.lstrip().startswith("{"):
        return f"{text.rstrip()}\n{key.pem()}"  # the PEM form trusts each key for every publisher
    document = msgspec.json.decode(text, type=_Document)
    mine = next((entry for entry in document.keys if entry["key_id"] == key.key_id), None)
    if mine is None:
        mine = {"key_id": key.key_id, "public_key": key.pem(), "publishers": []}
        document.keys.append(mine)
    mine["publishers"] = sorted({*mine["publishers"], *publishers})
    return msgspec.json.format(msgspec.json.encode(document)).decode() + "\n"


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(TRUST_MAX_BYTES + 1).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise _no_trust(f"the trust bundle {path} cannot be read: {reason}") from error


def _parsed(text: str, path: Path) -> TrustBundle:
    try:
        return parse_trust(text)
    except TrustFormatError as error:
        raise _no_trust(f"{path}: {error}") from error


def _no_trust(what: str) -> CliError:
    return CliError(
        what, next_step="name a trust bundle with --trust, or start the local stack: make run", code="cli_no_trust"
    )


def _replace(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
