"""Threats T01 to T05 where the forbidden addresses exist and answer: in a network namespace of this process's own.

Run as a program: it takes every address of the scenarios to itself, listens on all of them, counts who connects to
which, and prints what came of each fetch. Nothing is exempted from the address table here; 93.184.216.34 is as public as
any.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from runner.egress.http1 import Answer
from tests.runner.egress.certificates import Authority
from tests.runner.egress.names import Names
from tests.runner.egress.outside import outside

CLONE_NEWNET = 0x40000000
API = "api.example.com"
PUBLIC = "93.184.216.34"
METADATA = "169.254.169.254"
FOUR = (PUBLIC, METADATA, "10.0.0.5", "100.100.100.200", "168.63.129.16", "0.1.2.3")
SIX = ("64:ff9b::7f00:1", "2002:7f00:1::", "fd00:ec2::254", "2606:2800:220:1::1")


def enter() -> None:
    """Leave the machine's network for an empty one, where all these addresses are ours."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "no network namespace can be made here")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in FOUR:
        # An address of 0/8 cannot be added on every kernel; connecting to it reaches this host all the same.
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=False, capture_output=True)
    for address in SIX:
        subprocess.run(["ip", "address", "add", f"{address}/128", "dev", "lo", "nodad"], check=True)


class Everywhere:
    """Listens on every address, on 80 and, with TLS, on 443.

    Attributes:
        reached: how often each address was.
        location: where requests are redirected to, if anywhere.
    """

    def __init__(self) -> None:
        self.reached: Counter[str] = Counter()
        self.location: str | None = None

    async def serve(self, stack: contextlib.AsyncExitStack, authority: Authority) -> None:
        for port, tls in ((80, None), (443, authority.serving(API))):
            server = await asyncio.start_server(self._accepted, ["0.0.0.0", "::"], port, ssl=tls)
            await stack.enter_async_context(server)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reached[writer.get_extra_info("sockname")[0].removeprefix("::ffff:")] += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            found = f"HTTP/1.1 302 X\r\nlocation: {self.location}\r\n" if self.location else "HTTP/1.1 200 X\r\n"
            writer.write(f"{found}connection: close\r\ncontent-length: 0\r\n\r\n".encode())
            await writer.drain()
        writer.close()


async def fetched(authority: Authority, url: str, known: dict[str, str], *headers: tuple[str, str]) -> dict[str, Any]:
    """One fetch of an install that was granted whatever the URL says, with DNS that knows `known`."""
    async with Names(known) as names, outside(name_servers=(names.server,), ca=authority.pem) as out:
        grants = (f"http://{API}", f"https://{API}", *("/".join(url.split("/")[:3]),))
        got = await out.fetches(*grants).fetch("GET", url, headers, b"")
        return {
            "got": got.status if isinstance(got, Answer) else got,
            "reasons": sorted(reason for verdict, reason in out.metrics.seen if verdict in ("denied", "failed")),
            "incidents": out.told.incidents,
            "told": out.told.messages,
            "asked": dict(names.asked),
        }


async def scenarios(authority: Authority) -> dict[str, Any]:
    """Every scenario by its name: what came of it, and which addresses were reached meanwhile."""
    everywhere, found = Everywhere(), dict[str, Any]()

    async def scenario(name: str, url: str, known: dict[str, str], *headers: tuple[str, str]) -> None:
        everywhere.reached.clear()
        found[name] = {**await fetched(authority, url, known, *headers), "reached": dict(everywhere.reached)}

    async with contextlib.AsyncExitStack() as stack:
        await everywhere.serve(stack, authority)
        for address in ("127.0.0.1", *FOUR[:-1], "::1", *SIX):  # the listener does stand on each of them
            _, writer = await asyncio.open_connection(address, 80)
            writer.close()
        found["control"] = {"reached": dict(everywhere.reached)}
        await scenario("public", f"https://{API}/", {API: PUBLIC})
        await scenario("public-six", f"https://{API}/", {API: "2606:2800:220:1::1"})
        await scenario("T01", f"http://{METADATA}/latest/meta-data/", {})
        for url in ("http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://127.1/"):
            await scenario(f"T02 {url}", url, {})
        for host in ("::ffff:7f00:1", "64:ff9b::7f00:1", "2002:7f00:1::"):
            await scenario(f"T03 {host}", f"http://[{host}]/", {})
        for address in ("127.0.0.1", *FOUR[1:], "::1", *SIX[:-1], "::ffff:127.0.0.1", "::127.0.0.1"):
            await scenario(f"name {address}", f"https://{API}/", {API: address})
            await scenario(f"name {address} beside a public one", f"https://{API}/", {API: f"{PUBLIC} {address}"})
        everywhere.location = f"http://{METADATA}/"
        await scenario("T05", f"https://{API}/", {API: PUBLIC}, ("x-ext-follow-redirects", "5"))
        await scenario("T05 not followed", f"https://{API}/", {API: PUBLIC})
        everywhere.location = None
        everywhere.reached.clear()
        found["T04"] = {**await rebinding(authority), "reached": dict(everywhere.reached)}
    return found


async def rebinding(authority: Authority) -> dict[str, Any]:
    """DNS says the public address first and loopback from then on."""
    async with Names({API: f"{PUBLIC} | 127.0.0.1"}) as names:
        async with outside(name_servers=(names.server,), ca=authority.pem) as out:
            first = await out.get(f"https://{API}/")
            asked = dict(names.asked[API])
            second = await out.get(f"https://{API}/")
        wrong = Names({"www.example.com": PUBLIC})  # an address whose server cannot prove this name
        async with wrong, outside(name_servers=(wrong.server,), ca=authority.pem) as out:
            third = await out.get("https://www.example.com/")
    return {
        "first": first.status if isinstance(first, Answer) else first,
        "asked": asked,
        "second": second if isinstance(second, str) else second.status,
        "another name": third if isinstance(third, str) else third.status,
    }


def main() -> None:
    """Print the scenarios as JSON, as the last line."""
    enter()
    with tempfile.TemporaryDirectory() as directory:
        found = asyncio.run(scenarios(Authority(Path(directory))))
    sys.stdout.write("\n" + msgspec.json.encode(found).decode() + "\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
