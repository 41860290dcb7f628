"""What may be set for the gateway: one frozen struct, read once.

`load_settings` is the door: it loads the variables, fills in the ones that default to another, and checks what one
variable alone cannot show. The variables themselves are declared in `gateway.variables`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from gateway.identity.keys import HostKey, JwksUrl
from gateway.policy.quotas import Quotas
from gateway.variables import VARIABLES
from shared.keys import PrivateKey, PublicKey
from shared.provider import Providers
from shared.provider_files import shipped
from shared.sealing import SealingPublicKey
from shared.settings import SettingError, load
from shared.vault_settings import VaultSettings, checked

__all__ = ["VARIABLES", "GatewaySettings", "load_settings"]


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """One gateway's settings. Field by field the variables below; times in the unit of their name."""

    mode: Literal["production", "local"]
    allow_unsigned: bool
    bind: str
    internal_bind: str
    database_url: str
    platform_database_url: str
    database_direct_url: str
    redis_url: str | None
    tenant_calls_per_s: int
    install_calls_per_s: int
    tenant_running_max: int
    install_running_max: int
    install_calls_per_hour: int
    install_cpu_s_per_hour: int
    install_egress_mb_per_hour: int
    jwt_keys: tuple[HostKey, ...] | JwksUrl
    jwt_audience: str
    jwt_issuer: str
    signing_keys: tuple[PrivateKey, ...]
    runner_keys: tuple[PublicKey, ...]
    sealing_public_keys: tuple[SealingPublicKey, ...]
    vault_addr: str | None
    vault_transit_key: str | None
    vault_token: str | None
    vault_role_id: str | None
    vault_secret_id: str | None
    vault_namespace: str
    vault_ca: str
    runner_base_url: tuple[str, ...]
    runner_public_base: str
    compiler_base_url: str
    timeout_ms: int
    trust_bundle: str
    s3_endpoint: str | None
    s3_region: str
    s3_access_key: str | None
    s3_secret_key: str | None
    s3_bucket: str
    s3_force_path_style: bool
    ui_host_mode: Literal["runner"]
    redirect_compat: bool
    allowed_origins: tuple[str, ...]
    endpoint_policy: Literal["advisory", "enforce"]
    audit_mode: Literal["required", "best-effort"]
    stale_mode: Literal["serve", "refuse"]
    debug_enabled: bool
    debug_redis_url: str | None
    debug_stream_prefix: str
    debug_tail_count: int
    providers: Providers
    local_tenant: str | None

    @property
    def signing_key(self) -> PrivateKey:
        """The key that signs; the others only verify."""
        return self.signing_keys[0]

    @property
    def quotas(self) -> Quotas:
        """What an install may use in an hour."""
        return Quotas(
            calls=self.install_calls_per_hour,
            cpu_s=self.install_cpu_s_per_hour,
            egress_mb=self.install_egress_mb_per_hour,
        )

    @property
    def local(self) -> bool:
        """Whether this is a developer's machine: loopback only, some refusals may be lifted."""
        return self.mode == "local"

    def vault(self) -> VaultSettings | None:
        """Where secrets are encrypted instead of being sealed with a key, if anywhere. Raises `SettingError`."""
        return checked(
            "GATEWAY_",
            addr=self.vault_addr,
            transit_key=self.vault_transit_key,
            token=self.vault_token,
            role_id=self.vault_role_id,
            secret_id=self.vault_secret_id,
            namespace=self.vault_namespace,
            ca=self.vault_ca,
            plaintext_allowed=self.vault_addr is None or self.local or _is_loopback(urlsplit(self.vault_addr).netloc),
        )


class _Loaded(GatewaySettings, frozen=True, kw_only=True):
    """The variables as they stand, before the ones that default to another are filled in."""

    database_direct_url: str | None  # type: ignore[assignment]  # narrowed by load_settings
    s3_bundle_bucket: str | None
    debug_enabled: bool | None  # type: ignore[assignment]  # likewise
    providers: Providers | None  # type: ignore[assignment]  # likewise


def load_settings(env: Mapping[str, str]) -> GatewaySettings:
    """The gateway's settings from `env`. Raises `SettingError`, which names the variable and what would be valid."""
    loaded = load(_Loaded, VARIABLES, env)
    fields = {name: getattr(loaded, name) for name in GatewaySettings.__struct_fields__}
    fields["debug_enabled"] = loaded.mode == "local" if loaded.debug_enabled is None else loaded.debug_enabled
    fields["database_direct_url"] = loaded.database_direct_url or loaded.database_url
    fields["s3_bucket"] = loaded.s3_bundle_bucket or loaded.s3_bucket
    fields["providers"] = loaded.providers or shipped()
    settings = GatewaySettings(**fields)
    _check(settings)
    return settings


def _check(settings: GatewaySettings) -> None:
    for name, value in (("GATEWAY_BIND", settings.bind), ("GATEWAY_INTERNAL_BIND", settings.internal_bind)):
        if settings.local and not _is_loopback(value):
            raise SettingError(f"{name}: {value!r} is not loopback, which EXT_MODE=local asks for; use 127.0.0.1:port")
    if (settings.s3_access_key is None) != (settings.s3_secret_key is None):
        raise SettingError("STORAGE_S3_ACCESS_KEY and STORAGE_S3_SECRET_KEY: set both, or neither")
    if settings.allow_unsigned and not settings.local:
        raise SettingError("EXT_ALLOW_UNSIGNED: takes bundles that nobody vouches for; only for EXT_MODE=local")
    if settings.local_tenant is not None and not settings.local:
        raise SettingError("GATEWAY_LOCAL_TENANT: signs people in without a credential; only for EXT_MODE=local")
    settings.vault()
    own = [key.public for key in settings.signing_keys]
    if isinstance(settings.jwt_keys, JwksUrl):
        parts = urlsplit(settings.jwt_keys.url)
        if parts.scheme != "https" and not _is_loopback(parts.netloc):
            raise SettingError("GATEWAY_JWT_KEYS: keys are fetched by https://, or from loopback")
    elif any(key.kid == ours.key_id or key.is_same(ours) for key in settings.jwt_keys for ours in own):
        raise SettingError("GATEWAY_JWT_KEYS: holds the gateway's own key; the host application needs one of its own")


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
