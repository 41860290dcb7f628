"""Emergency brakes: which calls an operator stopped, as one line of the state feed says it.

    all · tenant:ID · version:UUID · publisher:SLUG · capability:cap:NAME

The gateway writes these subjects, both services judge calls by them; pure, so that they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final, Literal, get_args

import msgspec

from shared import capabilities, ids
from shared.errors import InvalidRequest

Scope = Literal["all", "tenant", "version", "publisher", "capability"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)


class CallFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a brake may look at: whose call it is, and what it may do.

    Attributes:
        publisher: of the bundle's signed statement; empty while nobody has verified one.
        capabilities: the complete list of grants, `cap:…`.
    """

    tenant_id: str
    install_id: str
    version_id: str
    content_hash: str
    publisher: str = ""
    capabilities: frozenset[str] = frozenset()


class Brake(msgspec.Struct, frozen=True):
    """One brake. `name` is empty for `all`."""

    scope: Scope
    name: str = ""

    @property
    def subject(self) -> str:
        """How it stands in the feed; `parse` reads it."""
        return self.scope if self.scope == "all" else f"{self.scope}:{self.name}"

    def stops(self, call: CallFacts) -> bool:
        """Whether `call` may not run."""
        match self.scope:
            case "all":
                return True
            case "tenant":
                return self.name == call.tenant_id
            case "version":
                return self.name == call.version_id
            case "publisher":
                return self.name == call.publisher
            case "capability":
                return self.name in call.capabilities


def parse(subject: str, known: Container[str] | None = None) -> Brake:
    """The brake a subject of the feed describes.

    Args:
        subject: as it stands there.
        known: capabilities it may name, for who pulls a brake and may have mistyped it; who reads the feed obeys any
            name, since a service of the host application may be one that this process has not been told of yet.

    Raises:
        InvalidRequest: it is none; names the scopes there are.
    """
    scope, _, name = subject.partition(":")
    match scope:
        case "all" if not name and subject == "all":
            return Brake("all")
        case "tenant":
            return Brake("tenant", ids.tenant_id(name))
        case "version":
            return Brake("version", ids.version_id(name))
        case "publisher":
            return Brake("publisher", ids.publisher(name))
        case "capability" if capabilities.NAME.fullmatch(name) and (known is None or name in known):
            return Brake("capability", name)
        case _:
            raise InvalidRequest(f"a brake is `all`, or one of {', '.join(SCOPES[1:])} with a name after a colon")
