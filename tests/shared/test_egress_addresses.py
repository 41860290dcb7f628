"""The address table: each block with its edges, and never more open than the standard library's opinion."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.egress_addresses import ALLOWED_IPV6, DENIED_IPV4, DENIED_IPV6, address_denied, any_denied

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "93.184.216.34",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "168.63.129.17",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.3.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "198.51.101.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "2000::",
    "2001:200::1",
    "2001:db7:ffff::1",
    "2001:db9::1",
    "2001:4860:4860::8888",
    "2003::1",
    "2606:4700:4700::1111",
    "3fff:1000::",
]


@pytest.mark.parametrize("ip", PUBLIC)
def test_a_public_address_is_not_denied(ip):
    assert address_denied(ip) is None


@pytest.mark.parametrize("network", [network for network, _ in (*DENIED_IPV4, *DENIED_IPV6)], ids=str)
def test_a_denied_block_is_denied_to_its_edges(network):
    assert address_denied(str(network[0]))
    assert address_denied(str(network[-1]))


@pytest.mark.parametrize(
    ("ip", "word"),
    [
        ("127.0.0.1", "loopback"),
        ("169.254.169.254", "metadata"),
        ("168.63.129.16", "host agent"),
        ("100.100.100.200", "carrier-grade"),
        ("255.255.255.255", "broadcast"),
        ("0.0.0.0", "this network"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::7f00:1", "compatible"),
        ("::ffff:7f00:1", "mapped"),
        ("::ffff:127.0.0.1", "mapped"),
        ("::ffff:8.8.8.8", "mapped"),
        ("64:ff9b::7f00:1", "NAT64"),
        ("64:ff9b:1::1", "NAT64"),
        ("100::1", "global unicast"),
        ("2001::1", "Teredo"),
        ("2002:7f00:1::", "6to4"),
        ("4000::", "global unicast"),
        ("5f00::1", "global unicast"),
        ("fd00:ec2::254", "unique local"),
        ("fe80::1", "link-local"),
        ("ff02::1", "multicast"),
        ("2606:4700::1%eth0", "zone"),
    ],
)
def test_a_denial_says_what_the_address_is(ip, word):
    assert word in address_denied(ip)


@pytest.mark.parametrize(
    "text", ["", "localhost", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.4/32", "[::1]", " 8.8.8.8", "٨.8.8.8"]
)
def test_what_is_not_an_address_is_denied(text):
    assert address_denied(text) == "not an IP address"


@given(st.ip_addresses(v=4))
def test_the_table_is_never_more_open_than_the_standard_library_for_ipv4(ip):
    if not ip.is_global or ip.is_multicast or ip.is_reserved:
        assert address_denied(str(ip))


@given(st.ip_addresses(v=6))
def test_the_table_is_never_more_open_than_the_standard_library_for_ipv6(ip):
    if not ip.is_global or ip.is_multicast or ip not in ALLOWED_IPV6:
        assert address_denied(str(ip))


@given(st.ip_addresses(v=4))
def test_no_ipv4_address_passes_in_the_clothes_of_ipv6(ip):
    number = int(ip)
    for disguised in (
        number,
        0xFFFF << 32 | number,
        0x0064FF9B << 96 | number,
        0x2002 << 112 | number << 80,
        0x20010000 << 96 | (number ^ 0xFFFFFFFF),
    ):
        assert address_denied(str(ipaddress.IPv6Address(disguised)))


@given(st.text())
def test_no_text_raises(text):
    assert address_denied(text) is None or isinstance(address_denied(text), str)


def test_one_denied_address_among_many_denies_them_all():
    assert any_denied(["93.184.216.34", "1.1.1.1"]) is None
    assert "loopback" in any_denied(["93.184.216.34", "127.0.0.1"])
    assert any_denied([]) is None
