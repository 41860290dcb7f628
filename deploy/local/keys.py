"""Every key of a local stack: made once, kept under `<dir>/keys/` with mode 0600, never shown.

Each service gets its own private key and the others' public ones, as in production. The trust bundle names the
local publisher key for the publishers `alga` (the samples) and `local` (what `alga-ext new` makes); keys that a
person added to it stay.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

import msgspec

from deploy.local.private import write_private
from shared.keys import PrivateKey
from shared.sealing import SealingKey

PUBLISHERS: Final = ("alga", "local")
_NAMES: Final = ("gateway", "runner", "compiler", "publisher", "host")


class KeyFiles(msgspec.Struct, frozen=True):
    """One Ed25519 pair."""

    private: Path
    public: Path

    def key(self) -> PrivateKey:
        """The private key. Raises `shared.keys.KeyFormatError` when the file was damaged."""
        return PrivateKey.from_pem(self.private.read_text())


class SealingFiles(msgspec.Struct, frozen=True):
    """One X25519 pair."""

    private: Path
    public: Path


class Passwords(msgspec.Struct, frozen=True):
    """What is not a key pair: logins of the database, the service token, the gateway's own secret."""

    database_app: str
    database_platform: str
    service_token: str


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """Where the keys of one stack are.

    Attributes:
        gateway: signs execute and host tokens.
        runner: the runner's identity.
        compiler: signs native code.
        publisher: signs bundles; trusted by `trust_bundle`.
        host: stands for the host application: signs the demo users' session tokens.
        sealing: secrets are sealed with its public half and opened with the private one.
        trust_bundle: the JSON file for `SIGNING_TRUST_BUNDLE`.
        passwords: random texts, kept in one file.
    """

    gateway: KeyFiles
    runner: KeyFiles
    compiler: KeyFiles
    publisher: KeyFiles
    host: KeyFiles
    sealing: SealingFiles
    trust_bundle: Path
    passwords: Passwords


class _TrustedKey(msgspec.Struct, frozen=True, omit_defaults=True):
    key_id: str
    public_key: str
    publishers: tuple[str, ...]


class _TrustBundle(msgspec.Struct, frozen=True):
    version: int
    threshold: int
    keys: tuple[_TrustedKey, ...]


def ensure(directory: Path) -> Keys:
    """The keys kept in `directory`; those that are missing are made.

    Args:
        directory: `<dir>/keys`; made with mode 0700.
    """
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    pairs = {name: _pair(directory, name) for name in _NAMES}
    trust_bundle = directory / "trust-bundle.json"
    if not trust_bundle.exists():
        write_private(trust_bundle, _trust(pairs["publisher"]))
    return Keys(
        gateway=pairs["gateway"],
        runner=pairs["runner"],
        compiler=pairs["compiler"],
        publisher=pairs["publisher"],
        host=pairs["host"],
        sealing=_sealing(directory),
        trust_bundle=trust_bundle,
        passwords=_passwords(directory / "passwords.json"),
    )


def _pair(directory: Path, name: str) -> KeyFiles:
    files = KeyFiles(private=directory / f"{name}.pem", public=directory / f"{name}.pub.pem")
    if not files.private.exists():
        PrivateKey.generate().write(files.private)
    write_private(files.public, files.key().public.pem().encode())
    return files


def _sealing(directory: Path) -> SealingFiles:
    files = SealingFiles(private=directory / "sealing.pem", public=directory / "sealing.pub.pem")
    if not files.private.exists():
        SealingKey.generate().write(files.private)
    write_private(files.public, SealingKey.from_pem(files.private.read_text()).public.pem().encode())
    return files


def _trust(publisher: KeyFiles) -> bytes:
    public = publisher.key().public
    key = _TrustedKey(key_id=public.key_id, public_key=public.pem(), publishers=PUBLISHERS)
    bundle = _TrustBundle(version=1, threshold=1, keys=(key,))
    return msgspec.json.format(msgspec.json.encode(bundle)) + b"\n"


def _passwords(path: Path) -> Passwords:
    if not path.exists():
        made = Passwords(
            database_app=secrets.token_hex(24),
            database_platform=secrets.token_hex(24),
            service_token=secrets.token_hex(32),
        )
        write_private(path, msgspec.json.encode(made))
    return msgspec.json.decode(path.read_bytes(), type=Passwords)
