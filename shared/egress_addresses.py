"""The addresses a guest's request may reach: an explicit deny table for IPv4 and IPv6.

`ipaddress.is_private` and `is_global` are not asked: their answers have changed between Python releases, and an
address that a library calls global can still be somebody's metadata service. So the table stands here, each row
with its reason. IPv4 is open except for the special-purpose blocks (RFC 6890 and the IANA registry it founded);
IPv6 is closed except for global unicast 2000::/3, and there a few blocks are closed again. Whatever embeds an
IPv4 address (mapped, compatible, NAT64, 6to4, Teredo) is thereby out without being decoded.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

DENIED_IPV4: Final[tuple[tuple[IPv4Network, str], ...]] = (
    (IPv4Network("0.0.0.0/8"), "this network (RFC 791)"),
    (IPv4Network("10.0.0.0/8"), "private (RFC 1918)"),
    (IPv4Network("100.64.0.0/10"), "shared by carrier-grade NAT (RFC 6598)"),
    (IPv4Network("127.0.0.0/8"), "loopback (RFC 1122)"),
    (IPv4Network("168.63.129.16/32"), "a cloud platform's host agent"),
    (IPv4Network("169.254.0.0/16"), "link-local, where metadata services stand (RFC 3927)"),
    (IPv4Network("172.16.0.0/12"), "private (RFC 1918)"),
    (IPv4Network("192.0.0.0/24"), "IETF protocol assignments (RFC 6890)"),
    (IPv4Network("192.0.2.0/24"), "documentation (RFC 5737)"),
    (IPv4Network("192.31.196.0/24"), "AS112 sink (RFC 7535)"),
    (IPv4Network("192.52.193.0/24"), "multicast tunnelling (RFC 7450)"),
    (IPv4Network("192.88.99.0/24"), "6to4 relays (RFC 7526)"),
    (IPv4Network("192.168.0.0/16"), "private (RFC 1918)"),
    (IPv4Network("192.175.48.0/24"), "AS112 sink (RFC 7534)"),
    (IPv4Network("198.18.0.0/15"), "benchmarking (RFC 2544)"),
    (IPv4Network("198.51.100.0/24"), "documentation (RFC 5737)"),
    (IPv4Network("203.0.113.0/24"), "documentation (RFC 5737)"),
    (IPv4Network("224.0.0.0/4"), "multicast (RFC 5771)"),
    (IPv4Network("240.0.0.0/4"), "reserved and broadcast (RFC 1112, RFC 919)"),
)

ALLOWED_IPV6: Final = IPv6Network("2000::/3")  # the only global unicast space handed out so far (RFC 4291)

DENIED_IPV6: Final[tuple[tuple[IPv6Network, str], ...]] = (
    (IPv6Network("2001::/23"), "IETF protocol assignments, Teredo included (RFC 2928, RFC 4380)"),
    (IPv6Network("2001:db8::/32"), "documentation (RFC 3849)"),
    (IPv6Network("2002::/16"), "6to4, an IPv4 address in disguise (RFC 3056)"),
    (IPv6Network("3fff::/20"), "documentation (RFC 9637)"),
)

_IPV6_CLOSED: Final[tuple[tuple[IPv6Network, str], ...]] = (
    (IPv6Network("::/128"), "unspecified (RFC 4291)"),
    (IPv6Network("::1/128"), "loopback (RFC 4291)"),
    (IPv6Network("::/96"), "an IPv4 address in disguise, compatible form (RFC 4291)"),
    (IPv6Network("::ffff:0:0/96"), "an IPv4 address in disguise, mapped form (RFC 4291)"),
    (IPv6Network("64:ff9b::/96"), "an IPv4 address behind NAT64 (RFC 6052)"),
    (IPv6Network("64:ff9b:1::/48"), "an IPv4 address behind local NAT64 (RFC 8215)"),
    (IPv6Network("fc00::/7"), "unique local (RFC 4193)"),
    (IPv6Network("fe80::/10"), "link-local (RFC 4291)"),
    (IPv6Network("ff00::/8"), "multicast (RFC 4291)"),
)
"""Blocks outside 2000::/3 that have a name; they only make the reason readable, they decide nothing."""


def address_denied(ip: str) -> str | None:
    """Why `ip` must not be contacted, or `None` when it is public.

    Args:
        ip: an address as a resolver returns it: dotted quad, or IPv6 without brackets. Anything that is not
            exactly an address (a zone included) is denied.
    """
    if ":" in ip:
        return _ipv6_denied(ip)
    try:
        address = IPv4Address(ip)
    except AddressValueError:
        return "not an IP address"
    return next((f"{ip} is {why}" for network, why in DENIED_IPV4 if address in network), None)


def any_denied(ips: Iterable[str]) -> str | None:
    """Why a name that resolves to `ips` must not be contacted: one denied address among them is enough."""
    return next(filter(None, map(address_denied, ips)), None)


def _ipv6_denied(ip: str) -> str | None:
    try:
        address = IPv6Address(ip)
    except AddressValueError:
        return "not an IP address"
    if address.scope_id is not None:
        return f"{ip} carries a zone, so it belongs to one link"
    if address not in ALLOWED_IPV6:
        named = next((why for network, why in _IPV6_CLOSED if address in network), "outside global unicast (RFC 4291)")
        return f"{ip} is {named}"
    return next((f"{ip} is {why}" for network, why in DENIED_IPV6 if address in network), None)
