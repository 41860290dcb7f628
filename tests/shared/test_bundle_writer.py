"""The bundle writer: the same tree gives the same bytes, and only what belongs into a bundle is packed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
import zstandard

from shared.bundle_reader import read_bundle
from shared.bundle_writer import write_bundle
from shared.digest import content_hash_of, sha256_hex
from shared.errors import BundleInvalid, BundleLimits, ManifestInvalid
from shared.limits import BUNDLE_FILE_MAX_BYTES, BUNDLE_MAX_FILES

MANIFEST = {
    "name": "com.acme.tickets",
    "publisher": "acme",
    "version": "1.4.0",
    "runtime": "wasm-component@1",
    "ui": {"type": "iframe", "entry": "ui/index.html"},
}
COMPONENT = b"\0asm\x0d\0\x01\0"
LONG = "d" * 60 + "/" + "e" * 60 + "/" + "f" * 60 + ".txt"
# Over the tar and over the compressed archive. Only the second may change, and only with libzstd's version: say so in
# the changelog then, since every bundle packed from the same sources gets another digest.
GOLDEN_TAR = "d078b550324e8e255cbeee54d04e0fe48d759e6438554a91b00d0d75d32510c7"
GOLDEN = "sha256:ce74d46d4f5331091b708cb4b1fda33d97b3435a19a7e4b3ef82e96afdb3f34a"


def make(folder: Path, extra: dict[str, bytes] | None = None, manifest: dict | None = None) -> Path:
    files = {
        "manifest.json": json.dumps(manifest or MANIFEST).encode(),
        "dist/main.wasm": COMPONENT,
        "ui/index.html": b"<!doctype html>\n",
        "ui/a.js": b"1;\n" * 1000,
        "wit/world.wit": b"package a:b;\n",
    } | (extra or {})
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def names(bundle: Path) -> list[str]:
    with bundle.open("rb") as file:
        return [member.name for member in read_bundle(file)]


def test_the_bytes_of_a_bundle_are_pinned(tmp_path):
    tree = make(tmp_path / "tree", {f"ui/{LONG}": b"long", "ui/é.txt": b"pax"})
    out = tmp_path / "bundle.tar.zst"
    digest = write_bundle(tree, out)
    assert sha256_hex(zstandard.ZstdDecompressor().decompress(out.read_bytes())) == GOLDEN_TAR
    assert digest.content_hash == GOLDEN
    assert digest.size_bytes == out.stat().st_size


def test_the_digests_are_those_of_the_archive_and_of_its_members(tmp_path):
    out = tmp_path / "bundle.tar.zst"
    digest = write_bundle(make(tmp_path / "tree"), out)
    assert digest.content_hash == content_hash_of(out.read_bytes())
    assert digest.manifest_sha256 == sha256_hex(json.dumps(MANIFEST).encode())
    assert digest.component_sha256 == sha256_hex(COMPONENT)


def test_a_ui_only_bundle_has_no_component_digest(tmp_path):
    tree = make(tmp_path / "tree")
    (tree / "dist" / "main.wasm").unlink()
    assert write_bundle(tree, tmp_path / "b").component_sha256 is None


def test_what_is_packed_is_read_back_in_sorted_order(tmp_path):
    extra = {f"ui/{LONG}": b"long", "ui/é.txt": b"pax", "ui/empty": b"", "ui/" + "é" * 120: b"x" * 512}
    tree, out = make(tmp_path / "tree", extra), tmp_path / "b"
    write_bundle(tree, out)
    with out.open("rb") as file:
        members = {member.name: member.data for member in read_bundle(file)}
    assert list(members) == sorted(members, key=str.encode)
    assert members == {name: (tree / name).read_bytes() for name in members}
    assert set(extra) < set(members)


def test_another_tar_program_reads_the_same_members(tmp_path):
    extra = {f"ui/{LONG}": b"long", "ui/é.txt": b"pax", "ui/" + "é" * 120: b"x", "ui/" + "a/" * 120 + "b": b"deep"}
    tree, out = make(tmp_path / "tree", extra), tmp_path / "b"
    write_bundle(tree, out)
    raw = zstandard.ZstdDecompressor().decompressobj().decompress(out.read_bytes())
    (tmp_path / "b.tar").write_bytes(raw)
    with tarfile.open(tmp_path / "b.tar") as archive:
        found = {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]
        kinds = {(entry.mode, entry.uid, entry.gid, entry.mtime, entry.uname) for entry in archive}
    with out.open("rb") as file:
        assert found == {member.name: member.data for member in read_bundle(file)}
    assert kinds == {(0o644, 0, 0, 0, "")}


def test_neither_time_nor_mode_nor_order_of_the_files_changes_the_bytes(tmp_path):
    first = make(tmp_path / "first")
    second = tmp_path / "second"
    for name in ("ui/a.js", "wit/world.wit", "ui/index.html", "manifest.json", "dist/main.wasm"):
        path = second / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((first / name).read_bytes())
        path.chmod(0o755)
        os.utime(path, (time.time() - 1e8, time.time() - 1e8))
    (second / "ui" / "empty-folder").mkdir()
    write_bundle(first, tmp_path / "1")
    write_bundle(second, tmp_path / "2")
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_neither_umask_nor_locale_nor_time_zone_nor_hash_seed_changes_the_bytes(tmp_path):
    tree = make(tmp_path / "tree", {"ui/Ä.txt": b"1", "ui/z.txt": b"2", "ui/a/b.txt": b"3"})
    write_bundle(tree, tmp_path / "here")
    program = (
        "import os, sys; os.umask(0o077)\n"
        "from pathlib import Path; from shared.bundle_writer import write_bundle\n"
        "write_bundle(Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    environment = {"LC_ALL": "C", "TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "7", "PYTHONUTF8": "1"}
    arguments = [sys.executable, "-c", program, str(tree), str(tmp_path / "there")]
    subprocess.run(arguments, check=True, env=environment, cwd=Path(__file__).parents[2])
    assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()


@pytest.mark.parametrize("minor", [11, 12, 13, 14])
def test_another_version_of_python_packs_the_same_bytes(tmp_path, minor):
    other = shutil.which(f"python3.{minor}")
    if other is None or minor == sys.version_info.minor:
        pytest.skip(f"python3.{minor} is not installed beside this one")
    probe = [other, "-c", "import msgspec, zstandard, jsonschema, publicsuffixlist, structlog, nacl, rfc8785"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip(f"python3.{minor} has none of this project's libraries")
    tree = make(tmp_path / "tree", {"ui/Ä.txt": b"1"})
    write_bundle(tree, tmp_path / "here")
    program = (
        "import sys; from pathlib import Path; from shared.bundle_writer import write_bundle\n"
        "write_bundle(Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    arguments = [other, "-c", program, str(tree), str(tmp_path / "there")]
    subprocess.run(arguments, check=True, cwd=Path(__file__).parents[2])
    assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()


def test_a_decomposed_name_is_packed_in_its_composed_form(tmp_path):
    write_bundle(make(tmp_path / "composed", {"ui/\u00e9.txt": b"x"}), tmp_path / "1")
    write_bundle(make(tmp_path / "decomposed", {"ui/e\u0301.txt": b"x"}), tmp_path / "2")
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_sources_keys_and_dependencies_stay_out(tmp_path):
    extra = {
        "src/app.py": b"",
        "signing.pem": b"",
        "node_modules/x/index.js": b"",
        "dist/main.js": b"",
        ".git/config": b"",
    }
    write_bundle(make(tmp_path / "tree", extra), tmp_path / "b")
    assert names(tmp_path / "b") == ["dist/main.wasm", "manifest.json", "ui/a.js", "ui/index.html", "wit/world.wit"]


def test_what_the_manifest_names_is_packed(tmp_path):
    manifest = MANIFEST | {"entry": "out/x.wasm", "sbom": "sbom.json", "precompiled": {"x": "precompiled/x.cwasm"}}
    extra = {"out/x.wasm": b"", "sbom.json": b"{}", "precompiled/x.cwasm": b""}
    write_bundle(make(tmp_path / "tree", extra, manifest), tmp_path / "b")
    assert {"out/x.wasm", "sbom.json", "precompiled/x.cwasm"} < set(names(tmp_path / "b"))
    assert "dist/main.wasm" not in names(tmp_path / "b")


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("$.ui.entry", {"ui": {"type": "iframe", "entry": "ui/none.html"}}),
        ("$.icon", {"icon": "ui/none.svg"}),
        ("$.sbom", {"sbom": "none.json"}),
        ("$.assets[0]", {"assets": ["ui/none/**"]}),
        ("$.precompiled.x", {"precompiled": {"x": "precompiled/none"}}),
        ("$.entry", {"entry": "dist/none.wasm", "api": {"endpoints": [{"method": "GET", "path": "/"}]}}),
        ("$.entry", {"entry": "dist/none.wasm", "events": [{"topic": "a.b"}]}),
    ],
)
def test_a_file_that_the_manifest_names_and_nobody_made_is_refused(tmp_path, path, change):
    with pytest.raises(ManifestInvalid) as caught:
        write_bundle(make(tmp_path / "tree", manifest=MANIFEST | change), tmp_path / "b")
    assert [(found["path"], found["code"]) for found in caught.value.extra["violations"]] == [(path, "file_missing")]


def test_neither_component_nor_pages_is_refused(tmp_path):
    manifest = {name: value for name, value in MANIFEST.items() if name != "ui"} | {"entry": "dist/none.wasm"}
    with pytest.raises(ManifestInvalid, match=r"\$\.entry"):
        write_bundle(make(tmp_path / "tree", manifest=manifest), tmp_path / "b")


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(BundleInvalid, match=r"manifest\.json"):
        write_bundle(tmp_path, tmp_path / "b")


@pytest.mark.parametrize("kind", ["symlink", "folder symlink", "pipe"])
def test_what_is_no_regular_file_is_refused_by_name(tmp_path, kind):
    tree = make(tmp_path / "tree")
    odd = tree / "ui" / "odd"
    if kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to("/etc/passwd" if kind == "symlink" else "/etc")
    with pytest.raises(BundleInvalid) as caught:
        write_bundle(tree, tmp_path / "b")
    assert caught.value.extra["path"] == "ui/odd"


@pytest.mark.parametrize(("first", "second"), [("ui/X", "ui/x"), ("ui/\u00e9", "ui/e\u0301")])
def test_twins_are_refused_when_packing(tmp_path, first, second):
    tree = make(tmp_path / "tree", {first: b"1", second: b"2"})
    if len(list((tree / "ui").iterdir())) < 4:
        pytest.skip("this file system cannot hold the twins")
    with pytest.raises(BundleInvalid, match="equal"):
        write_bundle(tree, tmp_path / "b")


def test_a_name_that_is_not_unicode_is_refused(tmp_path):
    tree = make(tmp_path / "tree")
    (tree / "ui" / os.fsdecode(b"\xff")).write_bytes(b"")
    with pytest.raises(BundleInvalid, match="UTF-8"):
        write_bundle(tree, tmp_path / "b")


def test_a_file_that_is_too_large_is_refused_by_name(tmp_path):
    tree = make(tmp_path / "tree", {"ui/large": b""})
    os.truncate(tree / "ui" / "large", BUNDLE_FILE_MAX_BYTES + 1)
    with pytest.raises(BundleLimits) as caught:
        write_bundle(tree, tmp_path / "b")
    assert caught.value.extra["path"] == "ui/large"


def test_a_file_that_no_reader_would_accept_for_its_ratio_is_refused(tmp_path):
    tree = make(tmp_path / "tree", {"ui/zeros": bytes(4 << 20)})
    with pytest.raises(BundleLimits, match="200 times"):
        write_bundle(tree, tmp_path / "b")


def test_too_many_files_are_refused(tmp_path):
    tree = make(tmp_path / "tree")
    folder = tree / "ui" / "many"
    folder.mkdir()
    original = folder / "0"
    original.write_bytes(b"")
    for index in range(1, BUNDLE_MAX_FILES):
        (folder / str(index)).hardlink_to(original)
    with pytest.raises(BundleLimits, match=str(BUNDLE_MAX_FILES)):
        write_bundle(tree, tmp_path / "b")


def test_a_refused_tree_leaves_nothing_behind_and_an_old_bundle_as_it_was(tmp_path):
    out = tmp_path / "out" / "b"
    out.parent.mkdir()
    out.write_bytes(b"old")
    tree = make(tmp_path / "tree", {"ui/zeros": bytes(4 << 20)})
    with pytest.raises(BundleLimits):
        write_bundle(tree, out)
    assert list(out.parent.iterdir()) == [out]
    assert out.read_bytes() == b"old"


def test_packing_replaces_an_older_bundle(tmp_path):
    out = tmp_path / "b"
    out.write_bytes(b"old")
    write_bundle(make(tmp_path / "tree"), out)
    assert len(names(out)) == 5
