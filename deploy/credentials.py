"""Every credential of a one-host installation, as the files that `deploy/compose.yaml` mounts.

    python -m deploy.credentials [DIRECTORY]        default: .local/compose

A file is named like the setting it is for and lies in the folder of the role that may read it. What is there is kept,
so a second run adds what a newer release asks for and changes nothing else. In a cluster the same folders become
Secrets and one ConfigMap, after the addresses and logins in them were replaced by the cluster's own:

    kubectl create secret generic gateway-secrets --from-file=DIRECTORY/gateway
    kubectl create configmap public-keys --from-file=DIRECTORY/public

The directory is closed to others. Its files are not, since a bind mount keeps their owner and the containers run as
another user: who gets a file mounted may read it, nobody else reaches it.
"""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from deploy.local import keys
from deploy.local.private import write_private
from deploy.local.redis import RUNNER_MAY

DEFAULT: Final = Path(".local/compose")
DATABASE: Final = "alga"
OWNER: Final = "alga_owner"
BUCKET: Final = "alga-extensions"


class _Passwords(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is random and no key pair; the files are written from it."""

    database_owner: str
    database_app: str
    database_platform: str
    redis_gateway: str
    redis_runner: str
    s3_gateway: str
    s3_compiler: str
    s3_runner: str
    s3_internal: str


class _AccessKey(msgspec.Struct, frozen=True, rename="camel"):
    access_key: str
    secret_key: str


class _Identity(msgspec.Struct, frozen=True):
    """One user of the object store, in SeaweedFS's own format."""

    name: str
    credentials: tuple[_AccessKey, ...]
    actions: tuple[str, ...]


class _Identities(msgspec.Struct, frozen=True):
    identities: tuple[_Identity, ...]


def write(directory: Path) -> list[Path]:
    """Make what is missing.

    Args:
        directory: where everything goes; made with mode 0700.

    Returns:
        The files that were made.

    Raises:
        OSError: the directory cannot be written.
        shared.keys.KeyFormatError: a key that is there was damaged.
    """
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    pairs = keys.ensure(directory / "keys")
    passwords = _passwords(directory / "passwords.json")
    made: list[Path] = []
    for name, text in {**_ours(pairs, passwords), **_servers(passwords)}.items():
        path = directory / name
        if not path.exists():
            write_private(path, text.encode())
            path.parent.chmod(0o755)
            path.chmod(0o644)
            made.append(path)
    return made


def _ours(pairs: keys.Keys, passwords: _Passwords) -> dict[str, str]:
    """What our own services read: each its own private key and logins, all of them the public halves."""
    app = _postgres("gateway_app", passwords.database_app)
    redis = f"redis://default:{passwords.redis_gateway}@redis:6379/0"
    return {
        "gateway/GATEWAY_SIGNING_KEY": pairs.gateway.private.read_text(),
        "gateway/GATEWAY_DATABASE_URL": app,
        "gateway/GATEWAY_PLATFORM_DATABASE_URL": _postgres("gateway_platform", passwords.database_platform),
        "gateway/GATEWAY_REDIS_URL": redis,
        "gateway/DEBUG_STREAM_REDIS_URL": redis,
        "migrate/GATEWAY_DATABASE_DIRECT_URL": _postgres(OWNER, passwords.database_owner),
        "runner/RUNNER_IDENTITY_KEY": pairs.runner.private.read_text(),
        "runner/RUNNER_SEALING_KEYS": pairs.sealing.private.read_text(),
        "runner/RUNNER_DEBUG_REDIS_URL": f"redis://runner:{passwords.redis_runner}@redis:6379/0",
        "compiler/COMPILER_SIGNING_KEY": pairs.compiler.private.read_text(),
        **_store("gateway", passwords.s3_gateway),
        **_store("runner", passwords.s3_runner),
        **_store("compiler", passwords.s3_compiler),
        "public/GATEWAY_JWT_KEYS": pairs.host.public.read_text(),
        "public/GATEWAY_RUNNER_KEYS": pairs.runner.public.read_text(),
        "public/GATEWAY_SEALING_PUBLIC_KEYS": pairs.sealing.public.read_text(),
        "public/RUNNER_GATEWAY_KEYS": pairs.gateway.public.read_text(),
        "public/RUNNER_AOT_PUBLIC_KEYS": pairs.compiler.public.read_text(),
        "public/COMPILER_CALLER_KEYS": pairs.gateway.public.read_text() + pairs.runner.public.read_text(),
        "public/SIGNING_TRUST_BUNDLE": pairs.trust_bundle.read_text(),
    }


def _servers(passwords: _Passwords) -> dict[str, str]:
    """What PostgreSQL, Redis and S3 read at their start: who may do what."""
    return {
        "postgres/password": passwords.database_owner,
        # Migrations find these two there already and give them their rights.
        "postgres/logins.sql": "".join(
            f"create role {name} login password '{password}' nosuperuser nobypassrls nocreatedb nocreaterole;\n"
            for name, password in (
                ("gateway_app", passwords.database_app),
                ("gateway_platform", passwords.database_platform),
            )
        ),
        "redis/users.acl": f"user default on >{passwords.redis_gateway} ~* &* +@all\n"
        f"user runner on >{passwords.redis_runner} {RUNNER_MAY}\n",
        "s3/identities.json": _identities(passwords),
        # Without it, who reaches the store's port for its own kind could add users there.
        "s3/security.toml": f'[jwt.filer_signing]\nkey = "{passwords.s3_internal}"\n',
    }


def _postgres(user: str, password: str) -> str:
    return f"postgresql://{user}:{password}@postgres:5432/{DATABASE}"


def _store(role: str, secret: str) -> dict[str, str]:
    return {f"{role}/STORAGE_S3_ACCESS_KEY": role, f"{role}/STORAGE_S3_SECRET_KEY": secret}


def _identities(passwords: _Passwords) -> str:
    """The gateway makes the bucket with its first upload; a compiler writes native code only, a runner nothing."""
    read = (f"Read:{BUCKET}", f"List:{BUCKET}")
    found = _Identities(
        (
            _Identity("gateway", (_AccessKey("gateway", passwords.s3_gateway),), ("Admin",)),
            _Identity("compiler", (_AccessKey("compiler", passwords.s3_compiler),), (*read, f"Write:{BUCKET}/aot/*")),
            _Identity("runner", (_AccessKey("runner", passwords.s3_runner),), read),
        )
    )
    return msgspec.json.format(msgspec.json.encode(found)).decode() + "\n"


def _passwords(path: Path) -> _Passwords:
    if not path.exists():
        random: Callable[[], str] = lambda: secrets.token_hex(24)  # noqa: E731 - hex needs no escape in any file
        made = _Passwords(**{name: random() for name in _Passwords.__struct_fields__})
        write_private(path, msgspec.json.encode(made))
    return msgspec.json.decode(path.read_bytes(), type=_Passwords)


def main() -> None:
    """Make what is missing and say what was made."""
    parser = argparse.ArgumentParser(prog="python -m deploy.credentials", description=write.__doc__)
    parser.add_argument("directory", nargs="?", type=Path, default=DEFAULT)
    directory: Path = parser.parse_args().directory
    made = write(directory)
    for path in made:
        print(f"made {path}")
    print(f"{directory} is complete ({len(made)} made)")


if __name__ == "__main__":
    main()
