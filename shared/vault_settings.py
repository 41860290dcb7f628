"""The variables that say where Vault or OpenBao is and as whom it is asked: the same for both services, which have
credentials of their own there, since one may encrypt only and the other decrypt.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from shared import settings
from shared.settings import SettingError, Var
from shared.vault_transit import VaultLogin, key_id

_Parse = Callable[[str], Any]


class VaultSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where Vault is and as whom it is asked.

    Attributes:
        address: base URL without a trailing slash.
        login: as whom, and for which key.
        ca: PEM text of the authority that Vault's certificate is trusted by; empty: the system's.
    """

    address: str
    login: VaultLogin
    ca: str = ""

    def __repr__(self) -> str:
        return f"VaultSettings({self.address}, {self.login.key_id})"


def variables(prefix: str, fields: str, right: str, end: str) -> tuple[Var, ...]:
    """The variables of one service.

    Args:
        prefix: of their names, `RUNNER_` or `GATEWAY_`.
        fields: of the fields in the service's struct.
        right: what the service asks of it, for the sentence.
        end: of each sentence, as the service's other variables have it.
    """

    def var(name: str, parse: _Parse, sentence: str, default: Any = None, *, secret: bool = False) -> Var:
        field = f"{fields}{name.lower()}"
        return Var(
            field=field, name=f"{prefix}{name}", parse=parse, help=sentence + end, default=default, secret=secret
        )

    return (
        var(
            "VAULT_ADDR",
            _optional(settings.url("http", "https")),
            f"Base URL of Vault or OpenBao, {right}; unset: none",
        ),
        var("VAULT_TRANSIT_KEY", _optional(key_id), "`mount/key` of the transit engine, such as `transit/alga`"),
        var("VAULT_TOKEN", _optional(settings.text), "Token for Vault; or set the AppRole's two instead", secret=True),
        var("VAULT_ROLE_ID", _optional(settings.text), "Role id of the AppRole that fetches tokens"),
        var("VAULT_SECRET_ID", _optional(settings.text), "Secret id of that AppRole", secret=True),
        var("VAULT_NAMESPACE", settings.any_text, "Namespace in Vault; unset: the root", ""),
        var("VAULT_CA", _pem, "PEM text or path of the authority of Vault's certificate; unset: the system's", ""),
    )


def checked(
    prefix: str,
    *,
    addr: str | None,
    transit_key: str | None,
    token: str | None,
    role_id: str | None,
    secret_id: str | None,
    namespace: str,
    ca: str,
    plaintext_allowed: bool,
) -> VaultSettings | None:
    """What the variables say together; none when Vault is not used.

    Args:
        prefix: of their names, for messages.
        addr, transit_key, token, role_id, secret_id, namespace, ca: their values.
        plaintext_allowed: whether `http` may be used.

    Raises:
        SettingError: names the variable and says what would be valid.
    """
    if addr is None:
        if any(value is not None for value in (transit_key, token, role_id, secret_id)):
            raise SettingError(f"{prefix}VAULT_ADDR is required when another {prefix}VAULT_ variable is set")
        return None
    if addr.startswith("http://") and not plaintext_allowed:
        raise SettingError(f"{prefix}VAULT_ADDR: beyond this machine use https")
    if transit_key is None:
        raise SettingError(f"{prefix}VAULT_TRANSIT_KEY is required with {prefix}VAULT_ADDR")
    if (role_id is None) != (secret_id is None) or (token is None) == (role_id is None):
        raise SettingError(
            f"{prefix}VAULT_TOKEN: set it, or {prefix}VAULT_ROLE_ID and {prefix}VAULT_SECRET_ID together"
        )
    login = VaultLogin(key_id=transit_key, token=token, role_id=role_id, secret_id=secret_id, namespace=namespace)
    return VaultSettings(address=addr, login=login, ca=ca)


def _optional(parse: _Parse) -> _Parse:
    """An empty value means unset, as deployment templates write it."""
    return lambda value: parse(value) if value else None


def _pem(value: str) -> str:
    if not value or "-----BEGIN" in value:
        return value
    try:
        return Path(value).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError("must be PEM text or the path of a readable PEM file") from error
