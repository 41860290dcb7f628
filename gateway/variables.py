"""The variables of the gateway: each declared once, with its parser, default and sentence.

The declarations are the documentation as well: the table in `deploy/README.md` is generated from them. Keys are
parsed here, so that a wrong one stops the start with the name of its variable.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

from gateway.identity.keys import HostKey, JwksUrl, host_keys
from shared import call_limits, limits
from shared.debug_stream import PREFIX
from shared.keys import private_keys, public_keys
from shared.provider_files import read_providers
from shared.sealing import sealing_public_keys
from shared.settings import Var, bind, choice, csv, flag, integer, text, url
from shared.vault_settings import variables as vault_variables

T = TypeVar("T")


def inline_or_file(parse: Callable[[str], T], *starts: str) -> Callable[[str], T]:
    """A parser of a value that stands inline (it begins with one of `starts`) or in the file it names."""

    def read(value: str) -> T:
        if value.lstrip().startswith(starts):
            return parse(value)
        try:
            return parse(Path(value).read_text())
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"is neither inline ({' or '.join(starts)}…) nor a readable file") from error

    return read


def origins(value: str) -> tuple[str, ...]:
    """Comma-separated web origins, `scheme://host[:port]` as browsers write them: lower-case, no path."""
    found = csv(value)
    for origin in found:
        parts = urlsplit(origin)
        if (
            f"{parts.scheme}://{parts.netloc}" != origin
            or not parts.hostname
            or origin != origin.lower()
            or "*" in origin
        ):
            raise ValueError(f"{origin!r} is not an origin: scheme://host[:port], lower-case, no path, no wildcard")
        if parts.scheme not in ("http", "https"):
            raise ValueError(f"{origin!r} must begin with http:// or https://")
    return found


def base_urls(value: str) -> tuple[str, ...]:
    """One or more comma-separated base URLs."""
    found = tuple(url("http", "https")(part) for part in csv(value))
    if not found:
        raise ValueError("must name at least one URL")
    return found


def _jwt_keys(value: str) -> tuple[HostKey, ...] | JwksUrl:
    if value.startswith(("https://", "http://")):
        return JwksUrl(url("https", "http")(value))
    return inline_or_file(host_keys, _PEM, "{", "[")(value)


_DATABASE: Final = url("postgresql", "postgres")
_PEM: Final = "-----BEGIN"

VARIABLES: Final[tuple[Var, ...]] = (
    Var(
        field="mode",
        name="EXT_MODE",
        parse=choice("production", "local"),
        help="production, or local for a developer's machine (loopback listeners only)",
        default="production",
    ),
    Var(
        field="allow_unsigned",
        name="EXT_ALLOW_UNSIGNED",
        parse=flag,
        help="EXT_MODE=local only: takes bundles whose envelope has no signature; the same for runner and compiler",
        default=False,
    ),
    Var(
        field="bind",
        name="GATEWAY_BIND",
        parse=bind,
        help="host:port of the public listener",
        default="127.0.0.1:8000",
    ),
    Var(
        field="internal_bind",
        name="GATEWAY_INTERNAL_BIND",
        parse=bind,
        help="host:port of the listener for runners and metrics; never reachable from outside",
        default="127.0.0.1:8001",
    ),
    Var(
        field="database_url",
        name="GATEWAY_DATABASE_URL",
        parse=_DATABASE,
        help="PostgreSQL as gateway_app, the login that serves one tenant at a time; a pooler may stand in between",
        secret=True,
    ),
    Var(
        field="platform_database_url",
        name="GATEWAY_PLATFORM_DATABASE_URL",
        parse=_DATABASE,
        help="PostgreSQL as gateway_platform, the login for work across tenants",
        secret=True,
    ),
    Var(
        field="database_direct_url",
        name="GATEWAY_DATABASE_DIRECT_URL",
        parse=_DATABASE,
        help="PostgreSQL without a pooler, for LISTEN; default: GATEWAY_DATABASE_URL",
        default=None,
        secret=True,
    ),
    Var(
        field="redis_url",
        name="GATEWAY_REDIS_URL",
        parse=url("redis", "rediss"),
        help="Redis for rate limits and idempotency; without it both are local or off, and say so",
        default=None,
        secret=True,
    ),
    Var(
        field="tenant_calls_per_s",
        name="GATEWAY_TENANT_CALLS_PER_S",
        parse=integer(1, call_limits.CALLS_SETTING_MAX_PER_S),
        help="calls of extensions one tenant may make a second, over all gateways; twice as many at once after a pause",
        default=call_limits.TENANT_CALLS_PER_S,
    ),
    Var(
        field="install_calls_per_s",
        name="GATEWAY_INSTALL_CALLS_PER_S",
        parse=integer(1, call_limits.CALLS_SETTING_MAX_PER_S),
        help="the same for one install",
        default=call_limits.INSTALL_CALLS_PER_S,
    ),
    Var(
        field="tenant_running_max",
        name="GATEWAY_TENANT_RUNNING_MAX",
        parse=integer(1, call_limits.RUNNING_SETTING_MAX_COUNT),
        help="calls of one tenant that may be under way, over all gateways",
        default=call_limits.TENANT_RUNNING_MAX_COUNT,
    ),
    Var(
        field="install_running_max",
        name="GATEWAY_INSTALL_RUNNING_MAX",
        parse=integer(1, call_limits.RUNNING_SETTING_MAX_COUNT),
        help="the same for one install",
        default=call_limits.INSTALL_RUNNING_MAX_COUNT,
    ),
    Var(
        field="install_calls_per_hour",
        name="GATEWAY_INSTALL_CALLS_PER_HOUR",
        parse=integer(1, call_limits.QUOTA_SETTING_MAX_COUNT),
        help="calls of one install in an hour",
        default=call_limits.INSTALL_CALLS_PER_HOUR_MAX,
    ),
    Var(
        field="install_cpu_s_per_hour",
        name="GATEWAY_INSTALL_CPU_S_PER_HOUR",
        parse=integer(1, call_limits.QUOTA_SETTING_MAX_COUNT),
        help="seconds of processor time of one install in an hour",
        default=call_limits.INSTALL_CPU_PER_HOUR_MAX_S,
    ),
    Var(
        field="install_egress_mb_per_hour",
        name="GATEWAY_INSTALL_EGRESS_MB_PER_HOUR",
        parse=integer(1, call_limits.QUOTA_SETTING_MAX_COUNT),
        help="MiB to and from the internet of one install in an hour",
        default=call_limits.INSTALL_EGRESS_PER_HOUR_MAX_MB,
    ),
    Var(
        field="jwt_keys",
        name="GATEWAY_JWT_KEYS",
        parse=_jwt_keys,
        help="public keys of the host application's session tokens: PEM blocks, a JWK or a JWK set, inline, a path, "
        "or the https:// address of a JWK set, which is fetched anew every five minutes and for key ids not known yet",
    ),
    Var(
        field="jwt_audience",
        name="GATEWAY_JWT_AUDIENCE",
        parse=text,
        help="the aud a session token must carry",
    ),
    Var(
        field="jwt_issuer",
        name="GATEWAY_JWT_ISSUER",
        parse=text,
        help="the iss a session token must carry",
    ),
    Var(
        field="signing_keys",
        name="GATEWAY_SIGNING_KEY",
        parse=inline_or_file(private_keys, _PEM),
        help="Ed25519 private keys (PEM blocks, inline or a path): the first signs tokens for runners, compiler and "
        "iframes, all of them verify what came back, so that a key can be changed while calls run",
        secret=True,
    ),
    Var(
        field="runner_keys",
        name="GATEWAY_RUNNER_KEYS",
        parse=inline_or_file(lambda pem: tuple(public_keys(pem)), _PEM),
        help="public keys (PEM, inline or a path) of the runners' identity tokens",
    ),
    Var(
        field="sealing_public_keys",
        name="GATEWAY_SEALING_PUBLIC_KEYS",
        parse=inline_or_file(sealing_public_keys, _PEM),
        help="X25519 public keys (PEM, inline or a path) of RUNNER_SEALING_KEYS; the first one seals new secrets",
        default=(),
    ),
    *vault_variables("GATEWAY_", "", "asked to encrypt secrets instead of sealing them with a key", ""),
    Var(
        field="runner_base_url",
        name="RUNNER_BASE_URL",
        parse=base_urls,
        help="where runners execute: one URL, a comma-separated list, or a name whose every address is a runner",
    ),
    Var(
        field="runner_public_base",
        name="RUNNER_PUBLIC_BASE",
        parse=url("http", "https"),
        help="public base URL of the runners' UI assets",
    ),
    Var(
        field="compiler_base_url",
        name="COMPILER_BASE_URL",
        parse=url("http", "https"),
        help="where bundles are unpacked, checked and compiled",
    ),
    Var(
        field="timeout_ms",
        name="EXT_GATEWAY_TIMEOUT_MS",
        parse=integer(1, limits.TIMEOUT_MAX_MS),
        help="time one extension call may take, in milliseconds",
        default=limits.TIMEOUT_DEFAULT_MS,
    ),
    Var(
        field="trust_bundle",
        name="SIGNING_TRUST_BUNDLE",
        parse=text,
        help="trust anchors of bundle signatures: PEM or JSON, inline or a path",
    ),
    Var(
        field="s3_endpoint",
        name="STORAGE_S3_ENDPOINT",
        parse=url("http", "https"),
        help="S3-compatible store; unset: AWS",
        default=None,
    ),
    Var(
        field="s3_region",
        name="STORAGE_S3_REGION",
        parse=text,
        help="region of the store",
        default="us-east-1",
    ),
    Var(
        field="s3_access_key",
        name="STORAGE_S3_ACCESS_KEY",
        parse=text,
        help="access key; unset: the environment's own identity",
        default=None,
        secret=True,
    ),
    Var(
        field="s3_secret_key",
        name="STORAGE_S3_SECRET_KEY",
        parse=text,
        help="secret key that belongs to STORAGE_S3_ACCESS_KEY",
        default=None,
        secret=True,
    ),
    Var(
        field="s3_bucket",
        name="STORAGE_S3_BUCKET",
        parse=text,
        help="bucket of bundles, unless STORAGE_S3_BUNDLE_BUCKET names another",
    ),
    Var(
        field="s3_bundle_bucket",
        name="STORAGE_S3_BUNDLE_BUCKET",
        parse=text,
        help="bucket of bundles; default: STORAGE_S3_BUCKET",
        default=None,
    ),
    Var(
        field="s3_force_path_style",
        name="STORAGE_S3_FORCE_PATH_STYLE",
        parse=flag,
        help="whether the bucket stands in the path instead of the host name",
        default=False,
    ),
    Var(
        field="ui_host_mode",
        name="EXT_UI_HOST_MODE",
        parse=lambda value: "runner" if choice("runner", "rust")(value) else "",
        help="who serves extension UIs: runner (rust means the same)",
        default="runner",
    ),
    Var(
        field="redirect_compat",
        name="REDIRECT_COMPAT",
        parse=flag,
        help="whether the gateway's /ext-ui redirects to RUNNER_PUBLIC_BASE instead of answering 404",
        default=False,
    ),
    Var(
        field="allowed_origins",
        name="EXT_GATEWAY_ALLOWED_ORIGINS",
        parse=origins,
        help="comma-separated origins that may call /api/ext from a browser, exact match",
        default=(),
    ),
    Var(
        field="endpoint_policy",
        name="EXT_ENDPOINT_POLICY",
        parse=choice("advisory", "enforce"),
        help="whether paths an extension does not declare are counted (advisory) or refused (enforce)",
        default="advisory",
    ),
    Var(
        field="audit_mode",
        name="EXT_AUDIT_MODE",
        parse=choice("required", "best-effort"),
        help="whether calls stop (required) or go on for 60 s (best-effort) when they cannot be recorded",
        default="required",
    ),
    Var(
        field="stale_mode",
        name="EXT_STALE_MODE",
        parse=choice("serve", "refuse"),
        help="what to do when the state feed is silent for more than 30 s",
        default="serve",
    ),
    Var(
        field="debug_enabled",
        name="EXT_DEBUG_ENABLED",
        parse=flag,
        help="whether calls of every install are debugged, not only of those switched on; unset: in local mode only",
        default=None,
    ),
    Var(
        field="debug_redis_url",
        name="DEBUG_STREAM_REDIS_URL",
        parse=url("redis", "rediss"),
        help="Redis that runners write debug events to; unset: nobody can watch them",
        default=None,
        secret=True,
    ),
    Var(
        field="debug_stream_prefix",
        name="RUNNER_DEBUG_REDIS_STREAM_PREFIX",
        parse=text,
        help="what the names of debug streams start with",
        default=PREFIX,
    ),
    Var(
        field="debug_tail_count",
        name="EXT_DEBUG_SSE_TAIL_COUNT",
        parse=integer(0, limits.DEBUG_TAIL_MAX_COUNT),
        help="debug events a new viewer is shown from the past",
        default=limits.DEBUG_TAIL_COUNT,
    ),
    Var(
        field="providers",
        name="EXT_PROVIDERS_DIR",
        parse=lambda value: read_providers(value) if value else None,
        help="directory of further services of the host application that guests may import: NAME.toml with NAME.wit; the "
        "same for gateway, compiler and runner",
        default=None,
    ),
    Var(
        field="local_tenant",
        name="GATEWAY_LOCAL_TENANT",
        parse=text,
        help="EXT_MODE=local only: the console signs in this tenant's demo administrator by itself",
        default=None,
    ),
)
