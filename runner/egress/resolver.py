"""The addresses of a name: asked once for each new connection, of IPv4 and IPv6 at once, within a deadline.

Our own client instead of the system's `getaddrinfo`: that one blocks a thread for as long as it likes, appends search
domains (so that a name of ours could become one of the cluster's), and reads a hosts file. Answers are not cached: a
kept connection needs none, and a node's own cache answers sooner than a second one here could be proved right.
"""

from __future__ import annotations

import asyncio
from typing import Final

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver

from runner.egress.failures import Failure, TransportError
from runner.egress.policy import NameServer
from shared.cancellation import heeding
from shared.limits import EGRESS_DNS_MAX_S

LOCALHOST: Final = ".localhost"
_LOOPBACK: Final = ("127.0.0.1", "::1")
_TRIES: Final = 3  # a lost datagram costs a third of the time


class DnsResolver:
    """Asks DNS servers.

    Args:
        name_servers: whom; none: those of `/etc/resolv.conf`.
    """

    def __init__(self, name_servers: tuple[NameServer, ...] = ()) -> None:
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=not name_servers)
        except dns.resolver.NoResolverConfiguration:
            self._resolver = dns.asyncresolver.Resolver(configure=False)
        if name_servers:
            servers = [dns.nameserver.Do53Nameserver(server.address, server.port) for server in name_servers]
            self._resolver.nameservers = list[str | dns.nameserver.Nameserver](servers)
        self._resolver.timeout = EGRESS_DNS_MAX_S / _TRIES
        self._resolver.lifetime = EGRESS_DNS_MAX_S

    async def addresses(self, name: str) -> tuple[str, ...]:
        """Every address of `name`, IPv6 first (RFC 8305 §4); one at least.

        A name below `localhost` is loopback without being asked for (RFC 6761 §6.3), so that a developer's upstream can
        have a name; whether loopback may be reached is decided elsewhere.

        Args:
            name: a DNS name without a trailing dot.

        Raises:
            TransportError: there are none, or nobody said so in time.
        """
        if name.endswith(LOCALHOST):
            return _LOOPBACK
        if not self._resolver.nameservers:
            raise TransportError(Failure.DNS, "this runner knows no DNS server; EXT_EGRESS_DNS can name one")
        try:
            # Absolute, so that no search domain is appended.
            absolute = dns.name.from_text(f"{name}.")
            async with asyncio.timeout(EGRESS_DNS_MAX_S), asyncio.TaskGroup() as both:
                six = both.create_task(self._of_kind(absolute, dns.rdatatype.AAAA))
                four = both.create_task(self._of_kind(absolute, dns.rdatatype.A))
        except TimeoutError:
            raise TransportError(Failure.DNS, f"no DNS server answered within {EGRESS_DNS_MAX_S} s") from None
        except dns.exception.DNSException as error:
            raise TransportError(Failure.DNS, f"{name} is not a name DNS can be asked for") from error
        found = six.result().addresses + four.result().addresses
        if not found:
            raise TransportError(Failure.DNS, f"{name}: {four.result().trouble or 'it has no address'}")
        return found

    async def _of_kind(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> _Found:
        try:
            asked = self._resolver.resolve(name, kind, raise_on_no_answer=False, search=False)
            answer = await heeding(asked)
        except dns.resolver.NXDOMAIN:
            return _Found((), "there is no such name")
        except dns.exception.Timeout:
            return _Found((), f"no DNS server answered within {EGRESS_DNS_MAX_S} s")
        except (dns.exception.DNSException, OSError):
            return _Found((), "the DNS servers gave no usable answer")
        return _Found(tuple(str(record.address) for record in answer.rrset or ()))


class _Found:
    """The addresses of one family, or why there are none."""

    __slots__ = ("addresses", "trouble")

    def __init__(self, addresses: tuple[str, ...], trouble: str = "") -> None:
        self.addresses = addresses
        self.trouble = trouble
