"""The operator's settings of egress: what they mean, and that a wrong one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.egress.policy import EgressPolicy, NameServer, Proxy, parse_name_servers, proxy_url, read_policy
from runner.egress.variables import EGRESS_VARIABLES, certificates
from runner.settings import read_runner
from runner.variables import RUNNER_VARIABLES
from shared.egress import parse_fence
from shared.settings import SettingError
from tests.runner.egress.certificates import Authority
from tests.runner.egress.outside import private
from tests.runner.test_settings import RUNNER

UNSET = {"allowlist": None, "private": (), "mode": "enforce", "proxy": None, "name_servers": (), "ca": ""}


def read(**changes) -> EgressPolicy:
    return read_policy(**{**UNSET, **changes})


def test_nothing_set_means_no_fence_no_exemption_and_enforcement() -> None:
    assert read() == EgressPolicy()


def test_an_empty_allowlist_is_a_fence_around_nothing() -> None:
    assert read(allowlist=()).fence == ()


def test_everything_set_is_read() -> None:
    assert read(
        allowlist=("*.example.com", "http://127.0.0.1:9999"),
        private=("127.0.0.1:9999", "up.localhost:8080"),
        mode="observe",
        proxy="http://user:p%40ss@proxy.internal:3129",
    ) == EgressPolicy(
        fence=parse_fence("*.example.com,http://127.0.0.1:9999", private("127.0.0.1:9999")),
        private=private("127.0.0.1:9999", "up.localhost:8080"),
        observe=True,
        proxy=Proxy("proxy.internal", 3129, "Basic dXNlcjpwQHNz"),
    )


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"allowlist": ("*.com",)}, "EXT_EGRESS_ALLOWLIST"),
        ({"allowlist": ("10.0.0.1",)}, "EXT_EGRESS_ALLOWLIST"),
        ({"allowlist": ("https://a.example/path",)}, "EXT_EGRESS_ALLOWLIST"),
        ({"private": ("127.0.0.1",)}, "EXT_EGRESS_ALLOW_PRIVATE"),
        ({"private": ("10.0.0.0/8:80",)}, "EXT_EGRESS_ALLOW_PRIVATE"),
        ({"private": ("*:80",)}, "EXT_EGRESS_ALLOW_PRIVATE"),
    ],
)
def test_a_wrong_value_names_its_variable(changes, name: str) -> None:
    with pytest.raises(SettingError, match=name):
        read(**changes)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://proxy:3128", "proxy", 3128),
        ("http://proxy.internal", "proxy.internal", 3128),
        ("http://10.0.0.1:8080/", "10.0.0.1", 8080),
        ("http://[fd00::1]:8080", "fd00::1", 8080),
    ],
)
def test_a_proxy_is_a_plain_url(url: str, host: str, port: int) -> None:
    assert read(proxy=proxy_url(url)).proxy == Proxy(host, port, None)


@pytest.mark.parametrize(
    "url",
    [
        "https://proxy:3128",
        "socks5://proxy:1080",
        "proxy:3128",
        "http://",
        "http://proxy/path",
        "http://proxy?x",
        "http://proxy:0x1",
        "http://proxy:99999",
        "http://a%3Ab:c@proxy",
        "http://u:canary-password@proxy/path",
    ],
)
def test_what_is_no_proxy_is_refused_without_its_credential(url: str) -> None:
    with pytest.raises(ValueError, match=r"must be http://|at most") as refused:
        proxy_url(url)
    assert "canary" not in str(refused.value)


def test_a_proxy_does_not_show_its_credential() -> None:
    assert "Basic" not in repr(read(proxy="http://user:password@proxy:3128"))


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("", ()),
        ("10.0.0.10", (NameServer("10.0.0.10", 53),)),
        (
            "10.0.0.10:5353, [fd00::1]:54,fd00::2",
            (*(NameServer("10.0.0.10", 5353), NameServer("fd00::1", 54)), NameServer("fd00::2", 53)),
        ),
        ("[fd00::3]", (NameServer("fd00::3", 53),)),
    ],
)
def test_dns_servers_are_addresses_with_a_port_or_without(text: str, servers) -> None:
    assert parse_name_servers(text) == servers


@pytest.mark.parametrize(
    "text", ["dns.internal", "10.0.0.10:", "10.0.0.10:0", "10.0.0.10:65536", "10.0.0.10:٥", "10.0.0.1/8"]
)
def test_what_is_no_dns_server_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"DNS server|port"):
        parse_name_servers(text)


# ---- certificate authorities ------------------------------------------------------------------------------------


def test_authorities_are_pem_text_or_the_path_of_it(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(authority.pem)
    assert certificates(authority.pem) == certificates(str(tmp_path / "ca.pem")) == authority.pem
    assert certificates("") == ""


@pytest.mark.parametrize(
    "text", ["absent.pem", "ä", "-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n", "-----BEGIN X-----"]
)
def test_what_holds_no_certificate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be PEM text of certificates"):
        certificates(text)


def test_every_setting_is_read_by_the_runner_and_a_wrong_one_stops_its_start() -> None:
    assert {var.name for var in EGRESS_VARIABLES} <= {var.name for var in RUNNER_VARIABLES}
    assert {var.name for var in EGRESS_VARIABLES if var.secret} == {"EXT_EGRESS_PROXY"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EXT_EGRESS_ALLOWLIST", "*.co.uk"),
        ("EXT_EGRESS_ALLOW_PRIVATE", "127.0.0.1"),
        ("EXT_EGRESS_CA", "absent.pem"),
        ("EXT_EGRESS_DNS", "dns.internal"),
        ("EXT_EGRESS_MODE", "off"),
        ("EXT_EGRESS_PROXY", "http://user:canary-password@proxy:0x1"),
    ],
)
def test_a_wrong_value_stops_the_start_and_names_its_variable_without_a_credential(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"^{name}") as refused:
        read_runner({**RUNNER, "EXT_MODE": "local", name: value})
    assert "canary" not in str(refused.value)


def test_the_runners_settings_become_the_policy() -> None:
    read = read_runner({**RUNNER, "EXT_EGRESS_ALLOWLIST": "", "EXT_EGRESS_MODE": "observe", "EXT_EGRESS_DNS": "::1"})
    assert read.egress() == EgressPolicy(fence=(), observe=True, name_servers=(NameServer("::1", 53),))
    assert read_runner(RUNNER).egress() == EgressPolicy()
