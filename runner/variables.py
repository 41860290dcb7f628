"""The variables of the runner and of the compiler role: each declared once, with its parser, default and sentence.

The declarations are the documentation as well: the table in `deploy/README.md` is generated from them. A setting's
field is its variable in lower case, always.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from runner.capabilities.variables import CAPABILITY_VARIABLES
from runner.egress.variables import EGRESS_VARIABLES
from shared import settings
from shared.debug_stream import PREFIX
from shared.keys import KeyFormatError, PrivateKey, PublicKey, public_keys
from shared.limits import (
    CACHE_MAX_BYTES,
    DEBUG_STREAM_MAX_COUNT,
    LOG_EVENT_MAX_BYTES,
    MIB,
    SANDBOX_IDLE_MAX,
    TIMEOUT_DEFAULT_MS,
    TIMEOUT_MAX_MS,
)
from shared.provider_files import read_providers
from shared.sealing import SealingKey, sealing_keys
from shared.settings import REQUIRED, Var
from shared.vault_settings import variables as vault_variables

LOCAL: Final = "local"
PRODUCTION: Final = "production"
SERVICE_TOKEN_MIN_CHARS: Final = 24  # 128 bits and more in every usual encoding

_PLACEHOLDER: Final = re.compile(
    r"(?i)change[-_ ]?me|secret|password|token|example|placeholder|default|dummy|insecure|your[-_]|replace|123456"
)
_DISTINCT_MIN: Final = 8  # hex of 16 random bytes has 13 distinct digits on average
_FRAME_SOURCE: Final = re.compile(r"'none'|'self'|https?://[A-Za-z0-9.*:\[\]-]+")


# ---- parsers of this service --------------------------------------------------------------------------------


def _pem(value: str) -> str:
    """PEM text as it is, or the text of the file that the value names."""
    if "-----BEGIN" in value:
        return value
    try:
        return Path(settings.text(value)).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError("must be PEM text or the path of a readable PEM file") from error


def _pem_or_nothing(value: str) -> str:
    return _pem(value) if value else ""


def _public_keys(value: str) -> tuple[PublicKey, ...]:
    """One or more Ed25519 `PUBLIC KEY` blocks; several, so that keys can be rotated."""
    try:
        return tuple(public_keys(_pem(value)))
    except KeyFormatError as error:
        raise ValueError(f"must hold Ed25519 PUBLIC KEY blocks: {error}") from error


def _private_key(value: str) -> PrivateKey:
    try:
        return PrivateKey.from_pem(_pem(value))
    except KeyFormatError as error:
        raise ValueError(f"must hold one Ed25519 PRIVATE KEY block: {error}") from error


def _sealing_keys(value: str) -> tuple[SealingKey, ...]:
    """None, or one or more X25519 `PRIVATE KEY` blocks; several, so that keys can be rotated."""
    try:
        return sealing_keys(_pem(value)) if value else ()
    except KeyFormatError as error:
        raise ValueError(f"must hold X25519 PRIVATE KEY blocks: {error}") from error


def _service_token(value: str) -> str:
    """A secret nobody guesses: long, and not a word that stands in an example."""
    if len(value) < SERVICE_TOKEN_MIN_CHARS or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(f"must be at least {SERVICE_TOKEN_MIN_CHARS} printable characters without blanks")
    if _PLACEHOLDER.search(value) or len(set(value)) < _DISTINCT_MIN:
        raise ValueError("looks like a placeholder; generate one, for instance with `openssl rand -hex 32`")
    return value


def _frame_ancestors(value: str) -> str:
    """A CSP source list of origins: nothing in it can end the directive or start another."""
    sources = value.split()
    if not sources or not all(_FRAME_SOURCE.fullmatch(source) for source in sources):
        raise ValueError("must be 'none', 'self' or origins such as https://app.example.com, separated by blanks")
    return " ".join(sources)


def _policy(value: str) -> str:
    """A Content-Security-Policy that fits into one header."""
    if not value.strip() or not value.isascii() or not value.isprintable():
        raise ValueError("must be one line of printable ASCII")
    return value.strip()


def instance(value: str) -> str:
    """The name of a runner instance: a host name, a pod name."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,253}", value):
        raise ValueError("must be 1-253 of A-Z a-z 0-9 . _ -")
    return value


def _optional(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """An empty value means unset, as deployment templates write it."""
    return lambda value: parse(value) if value else None


def _path(value: str) -> Path:
    return Path(settings.text(value)).absolute()


def _var(
    name: str, parse: Callable[[str], Any], sentence: str, default: Any = REQUIRED, *, secret: bool = False
) -> Var:
    return Var(field=name.lower(), name=name, parse=parse, help=sentence, default=default, secret=secret)


# ---- the variables ------------------------------------------------------------------------------------------

_STORE: Final = (
    _var(
        "EXT_MODE",
        settings.choice(PRODUCTION, LOCAL),
        "`local` relaxes what only a developer's machine may relax and refuses to listen beyond loopback.",
        PRODUCTION,
    ),
    _var(
        "EXT_ALLOW_UNSIGNED",
        settings.flag,
        "`EXT_MODE=local` only: runs bundles whose envelope has no signature; the same for gateway, compiler and runner.",
        False,
    ),
    _var(
        "EXT_CACHE_ROOT",
        settings.directory,
        "Directory of this node's cache, readable by its owner only.",
        Path("/var/cache/alga-extensions"),
    ),
    _var(
        "EXT_INTERNAL_CA",
        _pem_or_nothing,
        "PEM text or path of the certificate authority of internal TLS; unset: the system's.",
        "",
    ),
    _var(
        "EXT_INTERNAL_PLAINTEXT",
        settings.choice("", "mesh"),
        "`mesh` states that something else encrypts traffic between the services.",
        "",
    ),
    _var(
        "EXT_PROVIDERS_DIR",
        _optional(read_providers),
        "Directory of further services of the host application that guests may import: NAME.toml with NAME.wit; the same "
        "for gateway, compiler and runner.",
        None,
    ),
    _var(
        "RUNNER_FUEL",
        settings.flag,
        "Deterministic metering, 19-50 % slower; the compiler and every runner must agree.",
        False,
    ),
    _var(
        "SIGNING_TRUST_BUNDLE",
        settings.text,
        "Path or text of the trust anchors for bundle signatures: PEM public keys, or JSON.",
    ),
    _var(
        "STORAGE_S3_ENDPOINT",
        _optional(settings.url("http", "https")),
        "URL of the object store; unset: the provider's own for the region.",
        None,
    ),
    _var("STORAGE_S3_REGION", settings.text, "Region that requests to the object store are signed for.", "us-east-1"),
    _var("STORAGE_S3_ACCESS_KEY", settings.text, "Access key id of the object store."),
    _var(
        "STORAGE_S3_SECRET_KEY", settings.text, "Secret key of the object store; a runner's may only read.", secret=True
    ),
    _var("STORAGE_S3_BUCKET", settings.text, "Bucket of the platform."),
    _var(
        "STORAGE_S3_BUNDLE_BUCKET",
        _optional(settings.text),
        "Bucket of bundles and compiled artefacts when it is another one.",
        None,
    ),
    _var("STORAGE_S3_FORCE_PATH_STYLE", settings.flag, "Put the bucket into the path instead of the host name.", False),
)

_LISTENERS: Final = (
    _var("RUNNER_BIND", settings.bind, "host:port of the internal listener.", "127.0.0.1:8080"),
    _var(
        "RUNNER_PUBLIC_BIND",
        settings.bind,
        "host:port of the public listener, which serves UI assets only.",
        "127.0.0.1:8081",
    ),
    _var("RUNNER_TLS_CERTIFICATE", _optional(_path), "Path of the internal listener's certificate chain.", None),
    _var("RUNNER_TLS_KEY", _optional(_path), "Path of the internal listener's private key.", None),
    _var(
        "RUNNER_CODEC",
        settings.choice("own", "library"),
        "How values cross into guests; library is slower by 0.4 ms a call and the way out when the engine changes.",
        "own",
    ),
    _var("RUNNER_WORKERS", settings.integer(1, 256), "Worker processes; unset: one for each core.", 0),
    _var(
        "RUNNER_INSTANCE", instance, "Name of this instance in tokens (`runner:<instance>`); unset: the host name.", ""
    ),
)

_KEYS: Final = (
    _var("RUNNER_GATEWAY_URL", settings.url("http", "https"), "Base URL of the gateway's internal listener."),
    _var("RUNNER_GATEWAY_KEYS", _public_keys, "PEM text or path of the public keys whose execute tokens are accepted."),
    _var(
        "RUNNER_IDENTITY_KEY",
        _private_key,
        "PEM text or path of the key with which this runner says who it is.",
        secret=True,
    ),
    _var(
        "RUNNER_SEALING_KEYS",
        _sealing_keys,
        "PEM text or path of the X25519 private keys that open secret envelopes; two while they are rotated.",
        (),
        secret=True,
    ),
    _var(
        "RUNNER_AOT_PUBLIC_KEYS",
        _public_keys,
        "PEM text or path of the compiler's public keys; native code of anyone else is never loaded.",
    ),
    _var(
        "RUNNER_SERVICE_TOKEN",
        _optional(_service_token),
        "Static bearer token for callers without signed tokens; unset: none is accepted.",
        None,
        secret=True,
    ),
    _var("COMPILER_BASE_URL", settings.url("http", "https"), "Base URL of the compiler role.", "http://127.0.0.1:8082"),
)

_LIMITS: Final = (
    _var(
        "RUNNER_DEFAULT_TIMEOUT_MS",
        settings.integer(1, TIMEOUT_MAX_MS),
        "Milliseconds a call may take when it does not say.",
        TIMEOUT_DEFAULT_MS,
    ),
    _var(
        "RUNNER_MAX_TIMEOUT_MS", settings.integer(1, TIMEOUT_MAX_MS), "Milliseconds no call may exceed.", TIMEOUT_MAX_MS
    ),
    _var(
        "RUNNER_SANDBOX_MAX",
        settings.integer(1, 4096),
        "Guests that a runner runs at once, those waiting in host calls included.",
        64,
    ),
    _var(
        "RUNNER_IDLE_MEMORY_MB",
        _optional(settings.integer(0, 2**20)),
        "MiB of their guests' memory that idle sandboxes may keep for a minute, all together; it makes their next call two "
        "to three times as fast. Unset: an eighth of the memory there is.",
        None,
    ),
    _var(
        "RUNNER_SANDBOX_IDLE_MAX",
        settings.integer(0, 4096),
        "Idle sandbox processes that a runner keeps, 2-4 MiB each.",
        SANDBOX_IDLE_MAX,
    ),
    _var("EXT_CACHE_MAX_BYTES", settings.integer(MIB, 1 << 50), "Bytes the node's cache may hold.", CACHE_MAX_BYTES),
    _var(
        "EXT_STALE_MODE",
        settings.choice("serve", "refuse"),
        "What happens to calls when the state feed has been silent for 30 s.",
        "serve",
    ),
)

_DEBUG: Final = (
    _var(
        "RUNNER_DEBUG_REDIS_URL",
        _optional(settings.url("redis", "rediss", "unix")),
        "Redis that receives debug events; unset: none are sent.",
        None,
        secret=True,
    ),
    _var("RUNNER_DEBUG_REDIS_STREAM_PREFIX", settings.text, "What the names of debug streams start with.", PREFIX),
    _var(
        "RUNNER_DEBUG_REDIS_MAXLEN",
        settings.integer(1, 1_000_000),
        "Events kept for each extension of each tenant.",
        DEBUG_STREAM_MAX_COUNT,
    ),
    _var(
        "RUNNER_DEBUG_MAX_EVENT_BYTES",
        settings.integer(256, MIB),
        "Bytes of one debug event's message; the rest is cut.",
        LOG_EVENT_MAX_BYTES,
    ),
)

_UI: Final = (
    _var(
        "EXT_UI_FRAME_ANCESTORS",
        _frame_ancestors,
        "Origins that may frame extension UIs; unset: none (local mode: the gateway's default origin).",
        "",
    ),
    _var(
        "EXT_UI_CONTENT_SECURITY_POLICY",
        _optional(_policy),
        "Replaces the policy of UI documents; `sandbox` and `frame-ancestors` are added whatever it says.",
        None,
    ),
    _var(
        "EXT_UI_HOST_MODE",
        settings.choice("runner", "rust"),
        "`runner` (or its older name `rust`): the runner serves all UIs from one origin.",
        "runner",
    ),
)

_VAULT: Final = vault_variables("RUNNER_", "runner_", "asked to decrypt secrets", ".")

RUNNER_VARIABLES: Final[tuple[Var, ...]] = (
    _STORE + _LISTENERS + _KEYS + _VAULT + _LIMITS + _DEBUG + _UI + EGRESS_VARIABLES + CAPABILITY_VARIABLES
)

COMPILER_VARIABLES: Final[tuple[Var, ...]] = (
    *_STORE,
    _var("COMPILER_BIND", settings.bind, "host:port of the compiler role's listener.", "127.0.0.1:8082"),
    _var("COMPILER_TLS_CERTIFICATE", _optional(_path), "Path of the compiler role's certificate chain.", None),
    _var("COMPILER_TLS_KEY", _optional(_path), "Path of the compiler role's private key of TLS.", None),
    _var("COMPILER_SIGNING_KEY", _private_key, "PEM text or path of the key that signs native code.", secret=True),
    _var(
        "COMPILER_CALLER_KEYS",
        _public_keys,
        "PEM text or path of the public keys of gateways and runners that may ask for a compilation.",
    ),
)
