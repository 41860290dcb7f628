"""secrets: a guest reads, by name, the secrets its install was given. WIT: shared/wit/secrets.wit.

A value is opened for this execution only and concealed in all that leaves the runner before the guest gets it.
"""

from __future__ import annotations

from typing import Literal

from runner.capabilities.capability import Call, Capability
from runner.secrets.execution import CAPABILITY as NAME
from runner.secrets.execution import SecretMissingError
from shared.errors import SecretBindingMismatch, SecretExpired, SecretUnavailable

SecretError = Literal["missing", "denied", "expired", "internal"]


class Secrets:
    """The service of one execution."""

    def __init__(self, call: Call) -> None:
        self._secrets = call.secrets

    async def get(self, key: str) -> tuple[bool, str | SecretError]:
        """The value of `key`, or why not; what belongs to somebody else is as good as not granted."""
        try:
            return True, await self._secrets.value(key)
        except SecretMissingError:
            return False, "missing"
        except SecretExpired:
            return False, "expired"
        except SecretBindingMismatch:
            return False, "denied"
        except SecretUnavailable:
            return False, "internal"

    async def list_keys(self) -> list[str]:
        """The names there are, in order."""
        return await self._secrets.names()


CAPABILITY = Capability(name=NAME, interface="secrets", open=Secrets)
