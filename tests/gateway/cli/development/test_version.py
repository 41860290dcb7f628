"""A development version: before its release, after every earlier one, and the project's own files untouched."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from gateway.cli.archive import read_archive
from gateway.cli.development.version import development_version, pack
from gateway.cli.failures import CliError
from gateway.cli.project import open_project
from shared.keys import PrivateKey
from shared.signing import verify_envelope
from shared.trust import TrustBundle, TrustedKey
from tests.gateway.cli.projects import pages_only

KEY = PrivateKey(b"\3" * 32)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.2.0", "1.2.0-dev.17"),
        ("1.2.0-rc.1", "1.2.0-rc.1.dev.17"),
        ("1.2.0+build.5", "1.2.0-dev.17"),
        ("1.2.0-rc.1+build-5", "1.2.0-rc.1.dev.17"),
    ],
)
def test_it_is_what_the_manifest_says_and_the_time(version, expected):
    assert development_version(version, 17) == expected


def test_a_round_is_packed_and_signed_and_the_project_stays_as_it_is(tmp_path):
    project = pages_only(tmp_path / "project")
    (project / "ui" / "app.js").write_text("1")
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    packed = pack(open_project(project), KEY, scratch)
    archive = read_archive(packed.bundle)
    assert archive.manifest.version == packed.version
    assert packed.version.startswith("1.0.0-dev.")
    trust = TrustBundle(keys={KEY.key_id: TrustedKey(key=KEY.public)}, threshold=1)
    now = datetime.now(UTC)
    statement = verify_envelope(packed.envelope, trust, content_hash=archive.digest.content_hash, judge_expiry_at=now)
    assert (statement.version, statement.manifest_sha256) == (packed.version, archive.digest.manifest_sha256)
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before
    assert [path.name for path in scratch.iterdir()] == [packed.bundle.name]


def test_what_cannot_be_packed_says_why_and_leaves_nothing(tmp_path):
    project = pages_only(tmp_path / "project")
    opened = open_project(project)
    (project / "ui" / "index.html").unlink()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(CliError) as refused:
        pack(opened, KEY, scratch)
    assert refused.value.code == "manifest_invalid"
    assert list(scratch.iterdir()) == []


def test_the_manifest_is_written_as_json_whatever_its_layout(tmp_path):
    project = pages_only(tmp_path / "project")
    manifest = json.loads((project / "manifest.json").read_text())
    (project / "manifest.json").write_text(json.dumps(manifest, indent=8))
    packed = pack(open_project(project), KEY, tmp_path)
    assert read_archive(packed.bundle).manifest.name == "local.notes"
