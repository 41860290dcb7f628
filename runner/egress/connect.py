"""Opens connections: the one place where a guest's request leaves this process.

The addresses that were checked are the addresses that are contacted; nothing is looked up a second time, so a name that
changes its mind in between changes nothing (threat T04). The certificate is checked against the host's name, which the
guest wrote, whatever the address.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import Final, Protocol

import aiohappyeyeballs

from runner.egress.failures import AddressDeniedError, Failure, TransportError
from runner.egress.policy import EgressPolicy
from runner.egress.proxy import tunnel
from runner.egress.wire import Wire
from shared.egress_addresses import any_denied
from shared.egress_url import Target
from shared.limits import EGRESS_ADDRESSES_MAX_COUNT, EGRESS_ATTEMPT_DELAY_MS, EGRESS_CONNECT_MAX_S

_CONNECT_ERRORS: Final = (OSError, RuntimeError)  # uvloop raises the latter for some socket faults


class Resolver(Protocol):
    """Knows the addresses of names."""

    async def addresses(self, name: str) -> tuple[str, ...]:
        """All of them, in the order of preference. Raises `TransportError`."""
        ...


def tls_context(ca: str = "") -> ssl.SSLContext:
    """TLS towards upstreams: 1.2 and newer, the system's certificate authorities and those of `ca` (PEM text).

    Not `ssl.create_default_context`, which would write session keys to a file when the environment asks for it.

    Raises:
        ssl.SSLError: `ca` holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificate and host name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if ca:
        context.load_verify_locations(cadata=ca)
    context.set_alpn_protocols(["http/1.1"])
    return context


class Connector:
    """Opens connections to targets that the allowlist has let pass.

    Args:
        policy: proxy and certificate authorities.
        resolver: asked once for each connection.
    """

    def __init__(self, policy: EgressPolicy, resolver: Resolver) -> None:
        self._proxy = policy.proxy
        self._resolver = resolver
        self._tls = tls_context(policy.ca)

    async def open(self, target: Target, any_address: bool) -> Wire:
        """A connection to `target`, with TLS when it is https.

        Args:
            any_address: the operator exempted this host and port from the address table.

        Raises:
            AddressDeniedError: one of its addresses may not be contacted, so none is.
            TransportError: it cannot be reached, or is not who it should be.
        """
        host = target.host
        addresses = (host.name,) if host.is_address else await self._resolver.addresses(host.name)
        denied = None if any_address else any_denied(addresses)
        if denied is not None:
            raise AddressDeniedError(denied)
        try:
            async with asyncio.timeout(EGRESS_CONNECT_MAX_S):
                reached = await self._reach(addresses[:EGRESS_ADDRESSES_MAX_COUNT], target.port)
                return await self._secured(reached, target)
        except TimeoutError:
            within = f"it did not accept a connection within {EGRESS_CONNECT_MAX_S} s"
            raise TransportError(Failure.CONNECT, within) from None

    async def _reach(self, addresses: tuple[str, ...], port: int) -> socket.socket:
        if self._proxy is not None:
            return await tunnel(self._proxy, addresses, port)
        try:
            return await aiohappyeyeballs.start_connection(
                [_info(address, port) for address in addresses],
                happy_eyeballs_delay=EGRESS_ATTEMPT_DELAY_MS / 1000,
                interleave=1,
            )
        except TimeoutError:
            raise
        except _CONNECT_ERRORS as error:
            raise TransportError(Failure.CONNECT, "it refused the connection, or no way leads there") from error

    async def _secured(self, reached: socket.socket, target: Target) -> Wire:
        encrypted = target.scheme == "https"
        try:
            _, wire = await asyncio.get_running_loop().create_connection(
                Wire,
                sock=reached,
                ssl=self._tls if encrypted else None,
                server_hostname=target.host.name if encrypted else None,
            )
        except BaseException as error:
            with contextlib.suppress(OSError):
                reached.close()
            if isinstance(error, ssl.SSLCertVerificationError):
                why = f"its certificate is not accepted for {target.host}: {error.verify_message}"
                raise TransportError(Failure.TLS, why) from error
            if isinstance(error, OSError) and not isinstance(error, TimeoutError):
                failure = Failure.TLS if encrypted else Failure.CONNECT
                raise TransportError(failure, f"it broke the connection before {target.scheme} could begin") from error
            raise
        return wire


def _info(address: str, port: int) -> aiohappyeyeballs.AddrInfoType:
    if ":" in address:
        return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port, 0, 0)
    return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port)
