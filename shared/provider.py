"""A provider: a service of the host application that guests may import, as its files describe it.

The host application has business APIs of its own (invoices, clients, …). The platform knows none of them: each is a
description and an interface in WIT, read by `shared.provider_files`. Gateway, compiler, runner and CLI read the same
files, so that what may be asked for, what a component may import, what is linked and what is asked of the host
application is one thing. Where two of them read different ones after all, the digests tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from shared.capabilities import INTERFACES, KNOWN
from shared.digest import sha256_hex
from shared.wit_json import FieldCase
from shared.wit_types import Interface, World

AUDIENCE_PREFIX: Final = "provider:"
"""Of a provider's tokens: `provider:clients`; whatever a provider is called, it is never taken for a service of ours."""

_DIGEST_CHARS: Final = 16  # of the hex form: told apart, not proven


class Denial(StrEnum):
    """How every function of a provider refuses: a case of its error, or a record that says `success: false`."""

    NOT_ALLOWED = "not-allowed"
    DENIED = "denied"
    SUCCESS_FALSE = "success-false"


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """One service of the host application.

    Attributes:
        name: of its files, its interface and its entry of `provider_tokens`.
        capability: the grant that opens it.
        description: what the grant lets an extension do, for the person who decides: `reads clients`.
        endpoint: the name under which `RUNNER_PROVIDER_ENDPOINTS` has its address.
        case: how the host application writes names.
        denied: how its functions refuse.
        interface: its functions with their types.
        wit: the text of its WIT file, for worlds that guests are built for.
    """

    name: str
    capability: str
    description: str
    endpoint: str
    case: FieldCase
    denied: Denial
    interface: Interface
    wit: str

    @property
    def audience(self) -> str:
        """What its tokens are for."""
        return AUDIENCE_PREFIX + self.name

    def digest(self) -> str:
        """What two processes must agree on so that one may speak for the other; texts and comments do not count."""
        agreed = (self.name, self.capability, self.case, self.denied, self.interface.functions)
        return sha256_hex(msgspec.json.encode(agreed))[:_DIGEST_CHARS]


class Providers:
    """All providers of one installation, and the world that guests meet there.

    Attributes:
        world: the platform's, with the providers' interfaces behind its own.
        interfaces: interface → capability, the platform's and the providers'.
        capabilities: all that can be asked for and granted.
        digests: provider → digest.
    """

    def __init__(self, platform: World, interfaces: Mapping[str, Interface], declared: Iterable[Provider]) -> None:
        """Put them together.

        Args:
            platform: without providers.
            interfaces: of all files together, where `types` holds what the providers added.
            declared: the providers.
        """
        self._providers = {one.name: one for one in sorted(declared, key=lambda one: one.name)}
        self.world = World(platform.package, dict(interfaces), (*platform.imports, *self._providers), platform.exports)
        self.interfaces: Mapping[str, str] = INTERFACES | {one.name: one.capability for one in self}
        self.capabilities: frozenset[str] = KNOWN | {one.capability for one in self}
        self.digests: Mapping[str, str] = {one.name: one.digest() for one in self}

    def __iter__(self) -> Iterator[Provider]:
        """Each of them, by name."""
        return iter(self._providers.values())

    def get(self, name: str) -> Provider | None:
        """The provider of this name, if there is one."""
        return self._providers.get(name)

    def of_capability(self, capability: str) -> Provider | None:
        """The provider that `capability` opens, if it opens one."""
        return next((one for one in self if one.capability == capability), None)

    def granted(self, capabilities: Iterable[str]) -> list[Provider]:
        """Those that one of `capabilities` opens."""
        wanted = set(capabilities)
        return [one for one in self if one.capability in wanted]
