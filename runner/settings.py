"""What may be set for the runner and for the compiler role: two frozen structs, each read once at the start.

`read_runner` and `read_compiler` are the doors: they load the variables and then check what one variable alone
cannot show (local mode stays on loopback, internal traffic is encrypted in production). The variables themselves
are declared in `runner.variables`.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from runner.capabilities.ui_routes import API_PATHS, ApiPaths, check_api_paths
from runner.egress.policy import EgressPolicy, NameServer, read_policy
from runner.guest_metrics.exposition import Exposed
from runner.sandbox.offer import Codec
from runner.usable import usable_cores
from runner.variables import COMPILER_VARIABLES, LOCAL, RUNNER_VARIABLES, instance
from shared import settings
from shared.keys import PrivateKey, PublicKey
from shared.provider import Providers
from shared.provider_files import shipped
from shared.sealing import SealingKey
from shared.settings import SettingError
from shared.vault_settings import VaultSettings, checked

_LOCAL_ANCESTORS: Final = "http://127.0.0.1:8000 http://localhost:8000"  # the gateway's default listener


__all__ = [
    "COMPILER_VARIABLES",
    "RUNNER_VARIABLES",
    "CompilerSettings",
    "RunnerSettings",
    "StoreSettings",
    "read_compiler",
    "read_runner",
]


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What both roles share: mode, object store, trust and the node's disk.

    Attributes:
        signing_trust_bundle: a path or the trust bundle itself; `shared.trust` reads it.
        ext_internal_ca: PEM text, trusted for TLS towards the gateway and the compiler; empty: the system's store.
        ext_internal_plaintext: `mesh` when something else encrypts internal traffic.
        ext_providers_dir: what was read there, the reference providers included; `None` when there is nothing further.
    """

    ext_mode: str
    ext_allow_unsigned: bool = False
    ext_cache_root: Path
    ext_internal_ca: str
    ext_internal_plaintext: str
    ext_providers_dir: Providers | None = None
    runner_fuel: bool
    signing_trust_bundle: str
    storage_s3_endpoint: str | None
    storage_s3_region: str
    storage_s3_access_key: str
    storage_s3_secret_key: str
    storage_s3_bucket: str
    storage_s3_bundle_bucket: str | None
    storage_s3_force_path_style: bool

    def __repr__(self) -> str:
        """The class only: several fields are secrets."""
        return f"{type(self).__name__}({self.ext_mode})"

    @property
    def local(self) -> bool:
        """Whether this is one developer's machine."""
        return self.ext_mode == LOCAL

    @property
    def providers(self) -> Providers:
        """The services of the host application."""
        return self.ext_providers_dir or shipped()

    @property
    def bundle_bucket(self) -> str:
        """The bucket with `sha256/` and `aot/`."""
        return self.storage_s3_bundle_bucket or self.storage_s3_bucket


class RunnerSettings(StoreSettings, frozen=True, kw_only=True):
    """Everything an operator can decide about a runner; units are last in the names."""

    runner_bind: str
    runner_public_bind: str
    runner_tls_certificate: Path | None
    runner_tls_key: Path | None
    runner_workers: int
    runner_codec: Codec
    runner_instance: str
    runner_gateway_url: str
    runner_gateway_keys: tuple[PublicKey, ...]
    runner_identity_key: PrivateKey
    runner_sealing_keys: tuple[SealingKey, ...]
    runner_vault_addr: str | None
    runner_vault_transit_key: str | None
    runner_vault_token: str | None
    runner_vault_role_id: str | None
    runner_vault_secret_id: str | None
    runner_vault_namespace: str
    runner_vault_ca: str
    runner_aot_public_keys: tuple[PublicKey, ...]
    runner_service_token: str | None
    runner_default_timeout_ms: int
    runner_max_timeout_ms: int
    runner_sandbox_max: int
    runner_sandbox_idle_max: int
    runner_idle_memory_mb: int | None
    runner_debug_redis_url: str | None
    runner_debug_redis_stream_prefix: str
    runner_debug_redis_maxlen: int
    runner_debug_max_event_bytes: int
    compiler_base_url: str
    ext_cache_max_bytes: int
    ext_ui_frame_ancestors: str
    ext_ui_content_security_policy: str | None
    ext_ui_host_mode: str
    ext_stale_mode: str
    ext_egress_allowlist: tuple[str, ...] | None
    ext_egress_allow_private: tuple[str, ...]
    ext_egress_ca: str
    ext_egress_dns: tuple[NameServer, ...]
    ext_egress_mode: str
    ext_egress_proxy: str | None
    runner_provider_endpoints: tuple[tuple[str, str], ...] = ()
    runner_guest_metrics_labels: Exposed = "extension"
    ui_proxy_base_url: str | None
    ui_proxy_api_paths: ApiPaths = ApiPaths()
    ui_proxy_auth_key: str | None
    ui_proxy_timeout_ms: int

    def egress(self) -> EgressPolicy:
        """What the operator decided about guests' requests. Raises `SettingError`."""
        return read_policy(
            allowlist=self.ext_egress_allowlist,
            private=self.ext_egress_allow_private,
            mode=self.ext_egress_mode,
            proxy=self.ext_egress_proxy,
            name_servers=self.ext_egress_dns,
            ca=self.ext_egress_ca,
        )

    def vault(self) -> VaultSettings | None:
        """Where secrets of `vault-transit:v1` are opened, if anywhere. Raises `SettingError`."""
        return checked(
            "RUNNER_",
            addr=self.runner_vault_addr,
            transit_key=self.runner_vault_transit_key,
            token=self.runner_vault_token,
            role_id=self.runner_vault_role_id,
            secret_id=self.runner_vault_secret_id,
            namespace=self.runner_vault_namespace,
            ca=self.runner_vault_ca,
            plaintext_allowed=self.runner_vault_addr is None or _may_be_asked(self, self.runner_vault_addr),
        )


class CompilerSettings(StoreSettings, frozen=True, kw_only=True):
    """Everything an operator can decide about the compiler role."""

    compiler_bind: str
    compiler_tls_certificate: Path | None
    compiler_tls_key: Path | None
    compiler_signing_key: PrivateKey
    compiler_caller_keys: tuple[PublicKey, ...]


def read_runner(env: Mapping[str, str]) -> RunnerSettings:
    """The runner's settings. Raises `SettingError`, which names the variable and says what would be valid."""
    read = settings.load(RunnerSettings, RUNNER_VARIABLES, env)
    read = msgspec.structs.replace(
        read,
        runner_workers=read.runner_workers or usable_cores(),
        runner_instance=read.runner_instance or instance(socket.gethostname()),
        ext_ui_frame_ancestors=read.ext_ui_frame_ancestors or (_LOCAL_ANCESTORS if read.local else "'none'"),
    )
    _check_unsigned(read)
    _check_listener(
        read, "RUNNER_BIND", read.runner_bind, read.runner_tls_certificate, read.runner_tls_key, "RUNNER_TLS"
    )
    if read.local and not _loopback(read.runner_public_bind):
        raise SettingError("RUNNER_PUBLIC_BIND: in local mode only loopback addresses are served")
    _check_peer(read, "RUNNER_GATEWAY_URL", read.runner_gateway_url)
    _check_peer(read, "COMPILER_BASE_URL", read.compiler_base_url)
    known = {one.endpoint for one in read.providers}
    for name, url in read.runner_provider_endpoints:
        if name not in known:
            raise SettingError(
                f"RUNNER_PROVIDER_ENDPOINTS: {name} is no provider's endpoint; {', '.join(sorted(known))} are"
            )
        _check_peer(read, "RUNNER_PROVIDER_ENDPOINTS", url)
    _check_ui_proxy(read)
    if read.ext_egress_allow_private and not read.local:
        raise SettingError("EXT_EGRESS_ALLOW_PRIVATE: only EXT_MODE=local may skip the address table")
    if read.runner_default_timeout_ms > read.runner_max_timeout_ms:
        raise SettingError("RUNNER_DEFAULT_TIMEOUT_MS: must not exceed RUNNER_MAX_TIMEOUT_MS")
    read.egress()
    read.vault()
    return read


def read_compiler(env: Mapping[str, str]) -> CompilerSettings:
    """The compiler role's settings. Raises `SettingError`, which names the variable and says what would be valid."""
    read = settings.load(CompilerSettings, COMPILER_VARIABLES, env)
    _check_unsigned(read)
    certificate, key = read.compiler_tls_certificate, read.compiler_tls_key
    _check_listener(read, "COMPILER_BIND", read.compiler_bind, certificate, key, "COMPILER_TLS")
    return read


def _check_unsigned(read: StoreSettings) -> None:
    if read.ext_allow_unsigned and not read.local:
        raise SettingError("EXT_ALLOW_UNSIGNED: runs bundles that nobody vouches for; only for EXT_MODE=local")


def _check_listener(
    read: StoreSettings, name: str, bind: str, certificate: Path | None, key: Path | None, tls: str
) -> None:
    if (certificate is None) != (key is None):
        raise SettingError(f"{tls}_CERTIFICATE and {tls}_KEY go together; set both or neither")
    if _loopback(bind):
        return
    if read.local:
        raise SettingError(f"{name}: in local mode only loopback addresses are served")
    if certificate is None and read.ext_internal_plaintext != "mesh":
        raise SettingError(
            f"{name}: beyond loopback set {tls}_CERTIFICATE and {tls}_KEY, or EXT_INTERNAL_PLAINTEXT=mesh"
        )


def _check_ui_proxy(read: RunnerSettings) -> None:
    if read.ui_proxy_base_url is None:
        return
    _check_peer(read, "UI_PROXY_BASE_URL", read.ui_proxy_base_url)
    try:
        check_api_paths(read.ui_proxy_api_paths, urlsplit(read.ui_proxy_base_url).path)
    except ValueError as error:
        raise SettingError(f"{API_PATHS}: {error}") from error


def _check_peer(read: StoreSettings, name: str, url: str) -> None:
    if not _may_be_asked(read, url):
        raise SettingError(f"{name}: beyond loopback use https, or set EXT_INTERNAL_PLAINTEXT=mesh")


def _may_be_asked(read: StoreSettings, url: str) -> bool:
    """Whether what is said to this peer is private: encrypted, by us or underneath, or on this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" or read.local or read.ext_internal_plaintext == "mesh":
        return True
    return _loopback(f"[{parts.hostname}]:0" if ":" in (parts.hostname or "") else f"{parts.hostname}:0")


def _loopback(bind: str) -> bool:
    host = bind.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
