"""A DNS server on loopback: says what it is told to say, one answer after the other, and counts what it is asked."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Self, cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from runner.egress.policy import NameServer


class Names(asyncio.DatagramProtocol):
    """`async with Names({"api.example.com": "93.184.216.34 2606:2800::1 | 127.0.0.1"}) as names`.

    Args:
        known: the addresses of each name; what follows a bar is said when the name is asked for again.
        silent: whether questions are never answered.

    Attributes:
        asked: how often each name was asked for, by its type.
    """

    def __init__(self, known: dict[str, str], *, silent: bool = False, port: int = 0) -> None:
        self._known = {name: [said.split() for said in rounds.split("|")] for name, rounds in known.items()}
        self._silent, self._port = silent, port
        self._transport: asyncio.DatagramTransport | None = None
        self.asked: defaultdict[str, dict[str, int]] = defaultdict(lambda: {"A": 0, "AAAA": 0})

    async def __aenter__(self) -> Self:
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", self._port))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._transport is not None
        self._transport.close()
        await asyncio.sleep(0)

    @property
    def server(self) -> NameServer:
        """How it is reached."""
        assert self._transport is not None
        host, port = self._transport.get_extra_info("sockname")[:2]
        return NameServer(host, port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        round_ = self.asked[name][kind]
        self.asked[name][kind] += 1
        if self._silent:
            return
        said = dns.message.make_response(query)
        said.flags |= dns.flags.RA
        rounds = self._known.get(name)
        if rounds is None:
            said.set_rcode(dns.rcode.NXDOMAIN)
        else:
            addresses = rounds[min(round_, len(rounds) - 1)]
            fitting = [one for one in addresses if (":" in one) == (kind == "AAAA")]
            if fitting:
                said.answer.append(dns.rrset.from_text(question.name, 0, "IN", kind, *fitting))
        assert self._transport is not None
        self._transport.sendto(said.to_wire(), addr)
