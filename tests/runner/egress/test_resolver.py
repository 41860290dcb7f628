"""Names: both families at once, one question each, an end to waiting, no search domains, no hosts file."""

from __future__ import annotations

import asyncio
import time

import pytest

from runner.egress.failures import TransportError
from runner.egress.policy import NameServer
from runner.egress.resolver import DnsResolver
from tests.runner.egress.names import Names
from tests.runner.waiting import until


async def test_both_families_are_asked_once_and_ipv6_comes_first() -> None:
    async with Names({"api.example.com": "93.184.216.34 93.184.216.35 2606:2800::1"}) as names:
        found = await DnsResolver((names.server,)).addresses("api.example.com")
    assert found[0] == "2606:2800::1"
    assert sorted(found[1:]) == ["93.184.216.34", "93.184.216.35"]
    assert names.asked == {"api.example.com": {"A": 1, "AAAA": 1}}


async def test_each_call_asks_anew() -> None:
    async with Names({"api.example.com": "93.184.216.34 | 127.0.0.1"}) as names:
        resolver = DnsResolver((names.server,))
        assert await resolver.addresses("api.example.com") == ("93.184.216.34",)
        assert await resolver.addresses("api.example.com") == ("127.0.0.1",)


@pytest.mark.parametrize(("known", "says"), [({}, "no such name"), ({"api.example.com": ""}, "has no address")])
async def test_a_name_without_an_address_is_said_to_be_one(known: dict[str, str], says: str) -> None:
    async with Names(known) as names:
        with pytest.raises(TransportError, match=says):
            await DnsResolver((names.server,)).addresses("api.example.com")
    assert set(names.asked) == {"api.example.com"}  # and no search domain was tried


async def test_a_name_of_this_machines_hosts_file_is_unknown() -> None:
    async with Names({}) as names:
        with pytest.raises(TransportError):
            await DnsResolver((names.server,)).addresses("ip6-localhost.example")


@pytest.mark.parametrize("name", ["app.localhost", "a.b.localhost"])
async def test_a_name_below_localhost_is_loopback_without_a_question(name: str) -> None:
    async with Names({}) as names:
        assert await DnsResolver((names.server,)).addresses(name) == ("127.0.0.1", "::1")
    assert not names.asked


async def test_a_server_that_says_nothing_is_not_waited_for_beyond_the_deadline(monkeypatch) -> None:
    monkeypatch.setattr("runner.egress.resolver.EGRESS_DNS_MAX_S", 0.3)
    async with Names({}, silent=True) as names:
        began = time.monotonic()
        with pytest.raises(TransportError, match="no DNS server answered"):
            await DnsResolver((names.server,)).addresses("api.example.com")
        assert 0.25 < time.monotonic() - began < 2


async def test_a_cancelled_question_ends_at_once() -> None:
    async with Names({}, silent=True) as names:
        asking = asyncio.create_task(DnsResolver((names.server,)).addresses("api.example.com"))
        await until(lambda: names.asked)
        asking.cancel()
        began = time.monotonic()
        await asyncio.wait({asking})
        assert asking.cancelled()
        assert time.monotonic() - began < 0.2


async def test_the_second_server_is_asked_when_the_first_is_away(monkeypatch) -> None:
    async with Names({"api.example.com": "93.184.216.34"}) as names:
        away = NameServer("127.0.0.1", 1)
        assert await DnsResolver((away, names.server)).addresses("api.example.com") == ("93.184.216.34",)


async def test_without_a_server_the_author_hears_which_setting_is_missing() -> None:
    resolver = DnsResolver((NameServer("127.0.0.1", 53),))
    resolver._resolver.nameservers = []
    with pytest.raises(TransportError, match="EXT_EGRESS_DNS"):
        await resolver.addresses("api.example.com")
