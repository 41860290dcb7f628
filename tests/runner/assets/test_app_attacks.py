"""What an attacker asks of the public listener, over ASGI and over a socket (threats T48 to T51)."""

from __future__ import annotations

import time

import pytest

from tests.runner.assets.served import EVIL, NAVIGATION, Site, listening, raw
from tests.runner.published import SCRIPT

pytestmark = pytest.mark.security

CLIMBS = [
    "..%2f..%2fetc/passwd",
    "../../../etc/passwd",
    "%2e%2e/%2e%2e/etc/passwd",
    "%252e%252e/%252e%252e/etc/passwd",
    "..%252f..%252fetc/passwd",
    "%c0%ae%c0%ae/etc/passwd",
    "%e0%80%ae/etc/passwd",
    "..%5c..%5cetc%5cpasswd",
    "..\\..\\etc\\passwd",
    "index.html%00.js",
    "%00",
    "app.js%00",
    "/etc/passwd",
    "//etc/passwd",
    "./app.js",
    "x/../app.js",
    "app.js%0d%0ax-injected:%201",
    "a" * 2000,
    "%",
    "%zz",
    "ui/../manifest.json",
    ".",
    "..",
]


@pytest.mark.parametrize("path", CLIMBS)
@pytest.mark.parametrize("navigation", [False, True])
async def test_no_path_climbs(served: Site, base: str, path: str, navigation: bool):
    answer = await served.get(base + path, **(NAVIGATION if navigation else {}))
    assert answer.status in {400, 404}
    assert b"root:" not in answer.body


async def test_no_path_climbs_through_a_real_listener_either(served: Site, base: str, unused_tcp_port: int):
    other = served.installed.pairs.copy()
    async with listening(served.app, unused_tcp_port):
        status, answer = await raw(
            unused_tcp_port, f"GET {base}app.js HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".encode()
        )
        assert status == 200
        assert answer.endswith(SCRIPT)
        assert b"server:" not in answer.lower().split(b"\r\n\r\n")[0]
        for path in CLIMBS:
            head = f"GET {base}{path} HTTP/1.1\r\nhost: a\r\nsec-fetch-dest: iframe\r\nconnection: close\r\n\r\n"
            status, answer = await raw(unused_tcp_port, head.encode())
            assert status in {400, 404}, path
            assert b"root:" not in answer
        for target in (f"http://evil.example{base}app.js", f"@evil.example{base}app.js", f"{base}app.js/../../x"):
            head = f"GET {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
            assert (await raw(unused_tcp_port, head.encode()))[0] in {400, 404}, target
    assert served.installed.pairs == other


async def test_two_thousand_ranges_are_one_whole_answer_and_no_work(served: Site, base: str):
    ranges = "bytes=" + ",".join(f"{2 * n}-{2 * n + 1}" for n in range(2000))
    await served.get(base + "app.js")
    before = time.process_time()
    answer = await served.get(base + "app.js", range=ranges)
    assert time.process_time() - before < 0.05
    assert (answer.status, answer.body) == (200, SCRIPT)


@pytest.mark.parametrize("path", ["evil.html", "evil.svg", "index.html"])
async def test_a_document_has_an_origin_of_its_own_even_when_opened_on_top(served: Site, base: str, path: str):
    answer = await served.get(base + path, sec_fetch_dest="document", accept="text/html")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts allow-forms; default-src 'none';")
    assert "allow-same-origin" not in policy
    assert "frame-ancestors https://app.example.com" in policy
    assert "https://img.example.com" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_a_script_without_an_extension_is_octets_and_not_sniffed(served: Site, base: str):
    answer = await served.get(base + "evil", **NAVIGATION)
    assert (answer.status, answer.body) == (200, EVIL)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"
