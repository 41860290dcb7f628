"""The public listener: what it serves, how, and everything it does not."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import msgspec
import pytest
import zstandard

from runner.assets import app as app_module
from runner.assets import packs
from runner.assets.policy import FILE_CACHE
from runner.bundles import statements
from shared.digest import sha256_hex
from shared.ids import ContentHash
from shared.trust import TrustStore
from tests.runner.assets.served import EXTENSION, FILES, KEY, NAVIGATION, Answer, Site, site
from tests.runner.memory_store import MemoryObjects
from tests.runner.published import PAGE, SCRIPT, Published, publish


def code(answer: Answer) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    found: str = msgspec.json.decode(answer.body)["code"]
    return found


# ---- which file a path means --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("index.html", "ui/dist/index.html"),
        ("app.js", "ui/dist/app.js"),
        ("dist/app.js", "ui/dist/app.js"),
        ("ui/dist/app.js", "ui/dist/app.js"),
        ("deep/style.css", "ui/dist/deep/style.css"),
        ("logo.png", "ui/logo.png"),
        ("ui/logo.png", "ui/logo.png"),
        ("ui/inner.js", "ui/dist/ui/inner.js"),
        ("inner.js", "ui/inner.js"),
        ("empty.txt", "ui/empty.txt"),
        ("caf%C3%A9%201%25.txt", "ui/caf\u00e9 1%.txt"),
        ("large.bin", "ui/large.bin"),
        ("%61pp.js", "ui/dist/app.js"),
    ],
)
async def test_a_path_names_exactly_one_file(served: Site, base: str, path: str, name: str):
    answer = await served.get(base + path)
    assert answer.status == 200
    assert answer.body == FILES[name]
    assert answer.headers["content-length"] == str(len(FILES[name]))


async def test_the_colon_of_the_digest_may_be_encoded(served: Site, base: str):
    assert (await served.get(base.replace("sha256:", "sha256%3A") + "app.js")).status == 200
    assert (await served.get(base.replace("sha256:", "sha256%3a") + "app.js")).status == 200


@pytest.mark.parametrize(
    "path", ["main.wasm", "dist/main.wasm", "manifest.json", "wit/world.wit", "style.css", "APP.JS", "app.js/"]
)
async def test_what_is_not_below_ui_or_not_exactly_so_named_is_not_found(served: Site, base: str, path: str):
    assert code(await served.get(base + path)) == "not_found"


async def test_head_has_the_headers_of_get_and_no_body(served: Site, base: str):
    got, head = await served.get(base + "large.bin"), await served.get(base + "large.bin", "HEAD")
    assert head.headers == got.headers
    assert (head.status, head.body) == (200, b"")


# ---- single-page applications -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "settings", "settings/users/7", "settings/"])
@pytest.mark.parametrize(
    "headers", [{"sec_fetch_dest": "iframe"}, {"sec_fetch_dest": "document"}, {"accept": "text/html,*/*;q=0.8"}]
)
async def test_a_navigation_to_a_route_gets_the_entry_document(
    served: Site, base: str, path: str, headers: dict[str, str]
):
    answer = await served.get(base + path, **headers)
    assert (answer.status, answer.body) == (200, PAGE)
    assert answer.headers["cache-control"] == "no-cache"
    assert "sec-fetch-dest" in answer.headers["vary"]


@pytest.mark.parametrize("path", ["missing.js", "missing.css", "settings/chunk.js", "a.b/c.d", ".well-known"])
async def test_a_missing_file_never_becomes_the_entry_document(served: Site, base: str, path: str):
    assert (await served.get(base + path, **NAVIGATION)).status == 404


@pytest.mark.parametrize(
    "headers",
    [{}, {"accept": "*/*"}, {"sec_fetch_dest": "script"}, {"sec_fetch_dest": "empty", "accept": "application/json"}],
)
async def test_what_is_no_navigation_gets_no_entry_document(served: Site, base: str, headers: dict[str, str]):
    assert (await served.get(base + "settings", **headers)).status == 404


# ---- caching, compression, parts ----------------------------------------------------------------------------


async def test_the_entry_document_is_asked_for_again_and_every_other_file_never(served: Site, base: str):
    assert (await served.get(base + "index.html")).headers["cache-control"] == "no-cache"
    assert (await served.get(base + "ui/dist/index.html")).headers["cache-control"] == "no-cache"
    for path in ("app.js", "logo.png", "evil.html"):
        assert (await served.get(base + path)).headers["cache-control"] == FILE_CACHE.decode()


async def test_an_etag_is_strong_and_says_which_bytes(served: Site, base: str):
    assert (await served.get(base + "app.js")).headers["etag"] == f'"{sha256_hex(SCRIPT)}"'


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [("zstd, gzip", "zstd"), ("gzip", "gzip"), ("br", None), ("", None), ("zstd;q=0, gzip", "gzip")],
)
async def test_a_script_is_sent_in_the_form_the_browser_takes(
    served: Site, base: str, accepted: str, coding: str | None
):
    answer = await served.get(base + "app.js", accept_encoding=accepted)
    assert answer.headers.get("content-encoding") == coding
    assert answer.headers["vary"] == "accept-encoding"
    assert answer.headers["content-length"] == str(len(answer.body))
    plain = {
        "zstd": lambda body: zstandard.ZstdDecompressor().decompress(body),
        "gzip": gzip.decompress,
        None: lambda body: body,
    }[coding](answer.body)
    assert plain == SCRIPT


async def test_each_form_has_an_etag_of_its_own_and_is_revalidated_by_it(served: Site, base: str):
    tags: set[str] = set()
    for accepted in ("zstd", "gzip", ""):
        tag = (await served.get(base + "app.js", accept_encoding=accepted)).headers["etag"]
        tags.add(tag)
        again = await served.get(base + "app.js", accept_encoding=accepted, if_none_match=tag)
        assert (again.status, again.body) == (304, b"")
        assert again.headers["etag"] == tag
        assert again.headers["cache-control"] == FILE_CACHE.decode()
        assert again.headers["access-control-allow-origin"] == "*"
        assert "content-length" not in again.headers
    assert len(tags) == 3


async def test_what_does_not_shrink_is_not_compressed(served: Site, base: str):
    for path in ("logo.png", "deep/style.css"):
        answer = await served.get(base + path, accept_encoding="zstd, gzip")
        assert "content-encoding" not in answer.headers
        assert "vary" not in answer.headers


async def test_one_range_gives_a_part_of_the_plain_form(served: Site, base: str):
    answer = await served.get(base + "large.bin", range="bytes=16-31", accept_encoding="zstd")
    assert (answer.status, answer.body) == (206, b"0123456789abcdef")
    assert answer.headers["content-range"] == "bytes 16-31/800000"
    assert answer.headers["content-length"] == "16"
    assert "content-encoding" not in answer.headers


async def test_the_end_of_a_file_can_be_asked_for(served: Site, base: str):
    answer = await served.get(base + "large.bin", range="bytes=-3")
    assert (answer.status, answer.body) == (206, b"def")


async def test_a_range_behind_the_end_is_416_with_the_length(served: Site, base: str):
    answer = await served.get(base + "large.bin", range="bytes=800000-")
    assert answer.status == 416
    assert answer.headers["content-range"] == "bytes */800000"


async def test_if_range_with_another_tag_gives_the_whole(served: Site, base: str):
    tag = (await served.get(base + "large.bin")).headers["etag"]
    assert (await served.get(base + "large.bin", range="bytes=0-3", if_range=tag)).status == 206
    assert (await served.get(base + "large.bin", range="bytes=0-3", if_range='"other"')).status == 200
    assert (
        await served.get(base + "large.bin", range="bytes=0-3", if_range="Wed, 21 Oct 2015 07:28:00 GMT")
    ).status == 200


async def test_a_large_file_arrives_in_parts_and_whole(served: Site, base: str):
    assert (await served.get(base + "large.bin")).body == FILES["ui/large.bin"]


# ---- what is never served -----------------------------------------------------------------------------------


async def test_a_bundle_that_nobody_installed_is_not_found_and_not_fetched(served: Site, tmp_path: Path):
    other = publish(
        tmp_path / "other",
        KEY,
        {"ui/index.html": b"other"},
        ui={"type": "iframe", "entry": "ui/index.html"},
        capabilities=None,
    )
    served.store.held |= other.objects
    assert code(await served.get(f"/ext-ui/{EXTENSION}/{other.content_hash}/index.html")) == "not_found"
    assert served.store.reads.total() == 0


async def test_an_installed_digest_under_another_extension_is_not_found(served: Site, bundle: Published):
    other = EXTENSION.replace("1", "2")
    assert code(await served.get(f"/ext-ui/{other}/{bundle.content_hash}/index.html")) == "not_found"


async def test_an_extension_without_a_ui_is_not_found(served: Site, tmp_path: Path):
    other = publish(tmp_path / "other", KEY, {"dist/main.wasm": b"\0asm", "ui/a.txt": b"a"}, ui=None, capabilities=None)
    served.store.held |= other.objects
    assert code(await served.get(served.install(other.content_hash) + "a.txt")) == "not_found"


async def test_a_digest_without_a_bundle_is_not_found_and_asked_for_once(served: Site):
    base = served.install(ContentHash("sha256:" + "0" * 64))
    for _ in range(100):
        assert code(await served.get(base + "index.html")) == "bundle_not_found"
    assert served.store.reads.total() == 1


@pytest.mark.security
async def test_a_revoked_key_stops_a_ui_that_is_already_unpacked(served: Site, base: str, trust: TrustStore):
    assert (await served.get(base + "index.html")).status == 200
    trust.revoke(KEY.key_id)
    answer = await served.get(base + "index.html")
    assert (answer.status, code(answer)) == (403, "revoked")


@pytest.mark.security
async def test_a_replaced_archive_is_never_served(served: Site, base: str, bundle: Published):
    served.store.held[bundle.archive_key] = served.store.held[bundle.archive_key][:-1] + b"!"
    answer = await served.get(base + "index.html")
    assert (answer.status, code(answer)) == (502, "bundle_untrusted")


async def test_a_store_that_is_away_fails_what_is_cold_and_nothing_that_is_warm(
    served: Site, base: str, monkeypatch: pytest.MonkeyPatch
):
    for room in (packs, statements):
        monkeypatch.setattr(room, "UNAVAILABLE_S", 0)  # otherwise it is asked again after a second
    served.store.away = True
    answer = await served.get(base + "index.html")
    assert (answer.status, code(answer), answer.headers["retry-after"]) == (503, "bundle_unavailable", "2")
    served.store.away = False
    assert (await served.get(base + "index.html")).status == 200
    served.store.away = True
    assert (await served.get(base + "app.js")).status == 200


async def test_a_herd_on_a_cold_ui_costs_one_read_each(served: Site, base: str):
    answers = await asyncio.gather(*(served.get(base + "app.js") for _ in range(200)))
    assert {answer.status for answer in answers} == {200}
    assert set(served.store.reads.values()) == {1}


async def test_packs_are_bounded_together_and_the_newest_always_fits(
    bundle: Published, trust: TrustStore, tmp_path: Path
):
    second = publish(tmp_path / "second", KEY, FILES, version="2.0.0")
    store = MemoryObjects(bundle.objects | second.objects)
    async with site(tmp_path, store, trust, max_bytes=1) as small:
        one, two = small.install(bundle.content_hash), small.install(second.content_hash)
        for base in (one, two, one, two):
            assert (await small.get(base + "app.js")).body == SCRIPT
        assert len(small.packs._held) == 1
    assert store.reads[bundle.archive_key] == 1, "unpacked again from the disk"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_only_get_and_head_are_offered(served: Site, base: str, method: str):
    answer = await served.get(base + "index.html", method)
    assert (answer.status, code(answer), answer.headers["allow"]) == (405, "method_not_allowed", "GET, HEAD")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/metrics",
        "/readyz",
        "/v1/execute",
        "/ext-ui",
        "/ext-ui/",
        f"/ext-ui/{EXTENSION}",
        f"/ext-ui/{EXTENSION}/sha256:{'0' * 64}",
        f"/ext-ui/{EXTENSION.upper()}/sha256:{'0' * 64}/index.html",
        f"/ext-ui/acme.hello/sha256:{'0' * 64}/index.html",
        f"/ext-ui/{EXTENSION}/sha256:{'0' * 63}/index.html",
        f"/ext-ui/{EXTENSION}/sha256:{'A' * 64}/index.html",
        f"/ext-ui/{EXTENSION}/{'0' * 64}/index.html",
        f"//ext-ui/{EXTENSION}/sha256:{'0' * 64}/index.html",
    ],
)
async def test_nothing_else_is_served_here(served: Site, path: str):
    assert code(await served.get(path, **NAVIGATION)) == "not_found"


async def test_it_says_that_it_is_alive(served: Site):
    answer = await served.get("/healthz")
    assert (answer.status, answer.body) == (200, b"ok")


async def test_a_websocket_is_closed(served: Site):
    sent: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    await served.app({"type": "websocket"}, None, send)  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close", "code": 1000}]


async def test_a_reader_that_never_reads_is_cut_off(served: Site, base: str, monkeypatch: pytest.MonkeyPatch):
    await served.get(base + "large.bin")
    monkeypatch.setattr(app_module, "SEND_MAX_S", 0.02)
    sent: list[dict[str, object]] = []

    async def send(message: dict[str, object]) -> None:
        sent.append(message)
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    scope = {"type": "http", "method": "GET", "raw_path": f"{base}large.bin".encode(), "headers": []}
    await served.app(scope, None, send)  # type: ignore[arg-type]
    assert len(sent) == 2, "no further part waits in memory"
