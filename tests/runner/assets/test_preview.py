"""The preview of an author's pages: the public listener's own answers, from a folder, fresh under each new digest."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from runner.assets.index import Pack
from runner.assets.policy import UiPolicy
from runner.assets.preview import FromFolder, OnlyOne
from shared.deadline import Deadline
from shared.errors import BundleUntrusted, NotFound
from shared.ids import ContentHash, ExtensionId

ANCESTOR = "http://127.0.0.1:7"
HERE = "11111111-1111-4111-8111-111111111111"


def named(number: int) -> ContentHash:
    return ContentHash(f"sha256:{number:064x}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ui").mkdir()
    (tmp_path / "ui" / "index.html").write_text("one")
    manifest = {"ui": {"type": "iframe", "entry": "ui/index.html", "csp": {"connectSrc": ["https://api.example.com"]}}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "secret.pem").write_text("not to be served")
    return tmp_path


def text(pack: Pack, path: str = "index.html") -> str:
    form = pack.assets[path].forms["identity"]
    return pack.read(form.offset, form.length).decode()


async def got(pages: FromFolder, number: int) -> Pack:
    return await pages.get(named(number), Deadline.after_ms(5_000))


async def test_a_new_digest_reads_the_files_again_and_the_same_does_not(folder):
    pages = FromFolder(folder, UiPolicy(frame_ancestors=ANCESTOR))
    first = await got(pages, 1)
    assert text(first) == "one"
    (folder / "ui" / "index.html").write_text("two")
    assert await got(pages, 1) is first
    assert text(await got(pages, 2)) == "two"


async def test_only_pages_are_served_with_the_policy_of_production(folder):
    (folder / "ui" / "link.txt").symlink_to(folder / "secret.pem")
    pack = await got(FromFolder(folder, UiPolicy(frame_ancestors=ANCESTOR)), 1)
    assert set(pack.assets) == {"index.html", "ui/index.html"}
    policy = dict(pack.entry.forms["identity"].found)[b"content-security-policy"].decode()
    assert "sandbox allow-scripts allow-forms" in policy
    assert f"frame-ancestors {ANCESTOR}" in policy
    assert "connect-src https://api.example.com" in policy


async def test_a_manifest_that_is_being_written_is_a_refusal_and_the_next_one_counts(folder):
    pages = FromFolder(folder, UiPolicy(frame_ancestors=ANCESTOR))
    good = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text("{")
    with pytest.raises(BundleUntrusted):
        await got(pages, 1)
    (folder / "manifest.json").write_text('{"ui": null}')
    with pytest.raises(NotFound):
        await got(pages, 1)
    (folder / "manifest.json").write_text(good)
    assert text(await got(pages, 1)) == "one"


async def test_everybody_who_asks_at_once_gets_the_same(folder):
    pages = FromFolder(folder, UiPolicy(frame_ancestors=ANCESTOR))
    packs = await asyncio.gather(*(got(pages, 1) for _ in range(5)))
    assert len({id(pack) for pack in packs}) == 1


async def test_one_extension_is_served_and_no_other():
    await OnlyOne(HERE).check(ExtensionId(HERE), named(1))
    with pytest.raises(NotFound):
        await OnlyOne(HERE).check(ExtensionId(HERE.replace("1", "2")), named(1))
