"""`alga-ext keygen`, `sign` and `verify`: who vouches for a bundle."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from gateway.cli import key_files
from gateway.cli.access import AS_TEXT, OutFile, Output
from gateway.cli.archive import Archive, read_archive
from gateway.cli.failures import CliError, Exit, from_platform
from gateway.cli.project import bundle_or_packed, project_here, signature_of
from gateway.cli.stack import need_stack
from gateway.cli.terminal import Terminal
from shared.errors import PlatformError
from shared.keys import PrivateKey
from shared.limits import SIGNATURE_MAX_BYTES, TRUST_POLL_S
from shared.signing import (
    BundleStatement,
    Envelope,
    add_signature,
    decode_envelope,
    encode_envelope,
    sign_statement,
    verify_envelope,
)

LOCAL_PUBLISHER: Final = "local"  # what `alga-ext new` writes into a manifest
TRUST_VARIABLE: Final = "SIGNING_TRUST_BUNDLE"


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """What `keygen --json` prints.

    Attributes:
        private_key, public_key: paths.
        created: whether the key is new.
        trusted_in: the trust bundle it was added to, for `publishers`.
    """

    key_id: str
    private_key: str
    public_key: str
    created: bool
    trusted_in: str | None = None
    publishers: tuple[str, ...] = ()


def keygen(
    *,
    out: OutFile = None,
    trust_local: bool = False,
    publisher: str | None = None,
    stack: Path | None = None,
    output: Output = AS_TEXT,
) -> Exit:
    """Make a signing key (Ed25519, readable for you only). A key that exists is never overwritten.

    Args:
        out: the file of the private key; by default ALGA_EXT_KEY, else alga-ext/signing.pem in your configuration.
            The public half goes beside it.
        trust_local: let the local stack trust the key, a new one or the one that exists.
        publisher: with --trust-local, whose bundles it may sign besides those of `local`; by default the one of the
            manifest here.
        stack: the local stack's stack.json; also ALGA_STACK.
    """
    terminal = output.terminal()
    path = out or key_files.default_key(os.environ)
    key, created = _made_or_kept(path, keep=trust_local)
    terminal.say(f"{'made' if created else 'kept'} the key {key.key_id} in {path}")
    found = Key(key_id=key.key_id, private_key=str(path), public_key=str(key_files.public_of(path)), created=created)
    if trust_local:
        found = _trusted(found, key, publisher, stack, terminal)
    elif not output.json:
        terminal.note("next: have an operator trust its public half, or keygen --trust-local for a local stack", "cyan")
    terminal.document(found)
    return Exit.OK


def sign(
    bundle: Path | None = None,
    /,
    *,
    key: Path | None = None,
    out: OutFile = None,
    output: Output = AS_TEXT,
) -> Exit:
    """Sign a bundle: a DSSE envelope over its digests, name, publisher and version.

    Args:
        bundle: the archive; by default what pack wrote for the project here.
        key: the private key; by default the one keygen makes.
        out: the signature; by default NAME-VERSION.signature.json beside the archive. When it holds a signature over
            the same bytes already, this one is added.
    """
    terminal = output.terminal()
    path = bundle_or_packed(bundle)
    signer = key_files.load(key or key_files.default_key(os.environ))
    target = out or signature_of(path)
    with terminal.working("reading the bundle"):
        archive = read_archive(path)
    envelope = _joined(target, archive, signer)
    target.write_bytes(encode_envelope(envelope))
    terminal.say(f"{target}  signed by {signer.key_id} for {archive.digest.content_hash}")
    terminal.document(envelope)
    return Exit.OK


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What `verify --json` prints: the statement that trusted keys signed, and which keys the envelope names."""

    content_hash: str
    publisher: str
    name: str
    version: str
    issued_at: datetime
    keys: tuple[str, ...]


def verify(
    bundle: Path | None = None,
    /,
    *,
    trust: str | None = None,
    signature: Path | None = None,
    stack: Path | None = None,
    output: Output = AS_TEXT,
) -> Exit:
    """Verify a bundle as publishing does: signature, trust, validity, and that it is about these very bytes.

    Args:
        bundle: the archive; by default what pack wrote for the project here.
        trust: a file with the keys to trust; by default SIGNING_TRUST_BUNDLE, else the local stack's.
        signature: the envelope; by default NAME-VERSION.signature.json beside the archive.
        stack: the local stack's stack.json; also ALGA_STACK.
    """
    terminal = output.terminal()
    path = bundle_or_packed(bundle)
    envelope = read_envelope(signature or signature_of(path))
    trusted = trust or os.environ.get(TRUST_VARIABLE) or need_stack(stack).trust_bundle
    anchors = key_files.read_trust(trusted)
    with terminal.working("reading the bundle"):
        archive = read_archive(path)
    try:
        statement = verify_envelope(
            envelope, anchors, content_hash=archive.digest.content_hash, judge_expiry_at=datetime.now(UTC)
        )
    except PlatformError as error:
        raise from_platform(error) from error
    _compare(statement, archive)
    keys = tuple(one.keyid for one in envelope.signatures)
    terminal.say(f"{statement.content_hash} is {archive.manifest.publisher}'s {statement.name} {statement.version}")
    terminal.say(f"signed by {', '.join(keys)} at {statement.issued_at:%Y-%m-%d %H:%M:%S} UTC", "green")
    terminal.document(
        Verified(
            content_hash=statement.content_hash,
            publisher=statement.publisher,
            name=statement.name,
            version=statement.version,
            issued_at=statement.issued_at,
            keys=keys,
        )
    )
    return Exit.OK


def read_envelope(path: Path) -> Envelope:
    """The signature in a file. Raises `CliError`."""
    try:
        with path.open("rb") as file:
            return decode_envelope(file.read(SIGNATURE_MAX_BYTES + 1))
    except OSError as error:
        raise CliError(
            f"there is no signature at {path}",
            next_step="sign the bundle with alga-ext sign, or name the file with --signature",
            code="cli_no_signature",
        ) from error
    except PlatformError as error:
        raise from_platform(error) from error


# ---- keys ---------------------------------------------------------------------------------------------------


def _made_or_kept(path: Path, *, keep: bool) -> tuple[PrivateKey, bool]:
    try:
        return key_files.write_new(path), True
    except FileExistsError as error:
        if keep:
            return key_files.load(path), False
        raise CliError(
            f"there is a key at {path} already; it stays as it is",
            next_step="sign with it, let a local stack trust it (keygen --trust-local), or name another file with --out",
            code="cli_key_exists",
        ) from error


def _trusted(found: Key, key: PrivateKey, publisher: str | None, stack: Path | None, terminal: Terminal) -> Key:
    here = project_here() if publisher is None else None
    named = publisher or (here.manifest.publisher if here else LOCAL_PUBLISHER)
    publishers = tuple(sorted({LOCAL_PUBLISHER, named}))
    bundle = Path(need_stack(stack).trust_bundle)
    if key_files.trust_key(bundle, key.public, publishers):
        with terminal.working("the local stack reads its trust bundle again"):
            time.sleep(2 * TRUST_POLL_S)  # each service reads it once in this time; the next command finds it trusted
    terminal.say(f"the local stack trusts it for {', '.join(publishers)}", "green")
    return msgspec.structs.replace(found, trusted_in=str(bundle), publishers=publishers)


# ---- statements ---------------------------------------------------------------------------------------------


def _joined(target: Path, archive: Archive, signer: PrivateKey) -> Envelope:
    """The envelope at `target` with one more signature when it says the same of the same bytes, else a new one."""
    fresh = sign_statement(_statement(archive), signer)
    if not target.is_file():
        return fresh
    try:
        with target.open("rb") as file:
            present = decode_envelope(file.read(SIGNATURE_MAX_BYTES + 1))
        about = msgspec.json.decode(msgspec.json.decode(b'"' + present.payload.encode() + b'"', type=bytes))
    except (PlatformError, msgspec.MsgspecError):
        return fresh
    wanted = msgspec.to_builtins(_statement(archive))
    if not isinstance(about, dict) or any(about.get(name) != wanted[name] for name in wanted if name != "issued_at"):
        return fresh
    return add_signature(present, signer)


def _statement(archive: Archive) -> BundleStatement:
    return BundleStatement(
        content_hash=archive.digest.content_hash,
        name=archive.manifest.name,
        publisher=archive.manifest.publisher,
        version=archive.manifest.version,
        manifest_sha256=archive.digest.manifest_sha256,
        component_sha256=archive.digest.component_sha256,
        issued_at=datetime.now(UTC),
    )


def _compare(statement: BundleStatement, archive: Archive) -> None:
    """The statement is about this archive's files, and not only about its digest."""
    said, found = msgspec.to_builtins(statement), msgspec.to_builtins(_statement(archive))
    for name in ("publisher", "name", "version", "manifest_sha256", "component_sha256"):
        if said[name] != found[name]:
            raise CliError(
                f"the signature says {name} {said[name]}, the bundle has {found[name]}",
                next_step="do not use this bundle; have its publisher sign it again",
                code="content_hash_mismatch",
                exit_status=Exit.REFUSED,
            )
