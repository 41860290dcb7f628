"""Threats T01 to T05, at the connector: the forbidden addresses exist, answer, and nobody comes.

The scenarios run in a network namespace (see `namespace.py`), where every connection to every address is counted.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from typing import Any

import pytest

from tests.runner.egress.namespace import API, CLONE_NEWNET, FOUR, METADATA, PUBLIC, SIX

pytestmark = pytest.mark.security


def may_have_a_namespace() -> bool:
    probe = f"import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare({CLONE_NEWNET}) != 0)"
    return (
        hasattr(ctypes.CDLL(None), "unshare")
        and shutil.which("ip") is not None
        and os.geteuid() == 0
        and subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0
    )


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What came of each scenario."""
    if not may_have_a_namespace():
        pytest.skip("a network namespace needs root and the program ip")
    done = subprocess.run(
        [sys.executable, "-m", "tests.runner.egress.namespace"], capture_output=True, text=True, check=True, timeout=100
    )
    parsed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return parsed


def test_every_address_of_the_scenarios_can_be_reached_by_who_does_not_ask_the_policy(found) -> None:
    assert found["control"]["reached"] == dict.fromkeys(["127.0.0.1", *FOUR[:-1], "::1", *SIX], 1)


@pytest.mark.parametrize(("scenario", "address"), [("public", PUBLIC), ("public-six", "2606:2800:220:1::1")])
def test_a_public_address_is_reached_once(found, scenario: str, address: str) -> None:
    assert (found[scenario]["got"], found[scenario]["reached"]) == (200, {address: 1})


def test_t01_the_metadata_address_is_denied_though_granted_and_gets_no_connection(found) -> None:
    tried = found["T01"]
    assert (tried["got"], tried["reasons"], tried["incidents"]) == ("not-allowed", ["ip-denied"], ["egress_denied"])
    assert tried["reached"] == {}
    assert METADATA in tried["told"][0]


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1"])
def test_t02_a_number_in_disguise_is_invalid_before_dns_and_gets_no_connection(found, host: str) -> None:
    tried = found[f"T02 http://{host}/"]
    assert (tried["got"], tried["asked"], tried["reached"]) == ("invalid-url", {}, {})


@pytest.mark.parametrize("host", ["::ffff:7f00:1", "64:ff9b::7f00:1", "2002:7f00:1::"])
def test_t03_an_ipv4_address_inside_ipv6_is_denied_and_gets_no_connection(found, host: str) -> None:
    tried = found[f"T03 {host}"]
    assert (tried["got"], tried["reasons"], tried["reached"]) == ("not-allowed", ["ip-denied"], {})


@pytest.mark.parametrize("beside", ["", " beside a public one"])
@pytest.mark.parametrize("address", ["127.0.0.1", *FOUR[1:], "::1", *SIX[:-1], "::ffff:127.0.0.1", "::127.0.0.1"])
def test_a_granted_name_that_leads_there_is_denied_and_nobody_is_contacted(found, address: str, beside: str) -> None:
    tried = found[f"name {address}{beside}"]
    assert (tried["got"], tried["reasons"], tried["reached"]) == ("not-allowed", ["ip-denied"], {})
    assert tried["asked"] == {API: {"A": 1, "AAAA": 1}}
    assert address not in tried["told"][0]  # what a name leads to inside is not the author's to know


def test_t04_one_look_up_one_connection_to_the_pinned_address_and_the_name_on_the_certificate_counts(found) -> None:
    tried = found["T04"]
    assert (tried["first"], tried["asked"]) == (200, {"A": 1, "AAAA": 1})
    assert tried["second"] == "not-allowed"  # by then the name leads to loopback
    assert tried["another name"] == "transport"  # the right address, a certificate for another name
    assert tried["reached"] == {PUBLIC: 1}  # a handshake that fails is no connection to who listens


def test_t05_a_redirect_to_the_metadata_address_is_refused_at_its_hop_and_one_host_is_contacted(found) -> None:
    tried = found["T05"]
    assert (tried["got"], tried["reasons"]) == ("not-allowed", ["redirect-denied"])
    assert tried["reached"] == {PUBLIC: 1}
    assert (found["T05 not followed"]["got"], found["T05 not followed"]["reached"]) == (302, {PUBLIC: 1})
