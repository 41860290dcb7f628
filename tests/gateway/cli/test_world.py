"""A guest is built for the interfaces its manifest declares, so that an import is never more than was asked for."""

from __future__ import annotations

import json
import re

import pytest

from gateway.cli.project import open_project
from gateway.cli.world import missing_declarations, write_world
from shared.capabilities import DEFAULTS, INTERFACES
from shared.wit_parser import WIT_DIRECTORY, load_world
from tests.gateway.cli.projects import pages_only, write


def project(root, *capabilities):
    return open_project(pages_only(root, capabilities=list(capabilities)))


def imported(folder):
    return set(re.findall(r"import ([a-z0-9-]+);", (folder / "world.wit").read_text()))


DEFAULT_INTERFACES = {name for name, capability in INTERFACES.items() if capability in DEFAULTS}


def test_without_capabilities_the_world_has_the_defaults(tmp_path):
    assert imported(write_world(project(tmp_path))) == DEFAULT_INTERFACES


def test_a_declared_capability_brings_its_interface(tmp_path):
    assert imported(write_world(project(tmp_path, "cap:http.fetch", "storage.kv"))) == {
        *DEFAULT_INTERFACES,
        "http",
        "storage",
    }


def test_with_every_capability_it_is_the_platforms_world(tmp_path):
    every = sorted(set(INTERFACES.values()) - set(DEFAULTS))
    folder = write_world(project(tmp_path, *every))
    for source in WIT_DIRECTORY.glob("*.wit"):
        assert (folder / source.name).read_bytes() == source.read_bytes()


def test_what_is_written_is_a_world_the_platform_reads(tmp_path):
    world = load_world(write_world(project(tmp_path, "cap:http.fetch")))
    whole = load_world(WIT_DIRECTORY)
    assert set(world.imports) == {*DEFAULT_INTERFACES, "http"}
    assert world.exports == whole.exports
    assert world.interfaces == whole.interfaces


def test_a_file_that_is_no_longer_part_of_the_world_goes_away(tmp_path):
    folder = write_world(project(tmp_path))
    (folder / "old.wit").write_text("")
    assert not (write_world(project(tmp_path)) / "old.wit").exists()


def test_a_world_of_the_projects_own_is_taken_as_it_is(tmp_path):
    write(tmp_path, {"wit/world.wit": "package mine:own;"})
    folder = write_world(project(tmp_path))
    assert folder == tmp_path.resolve() / "wit"
    assert (folder / "world.wit").read_text() == "package mine:own;"


@pytest.mark.parametrize(
    "output",
    [
        'Error: Import "alga:extension/http" could not be found',
        "ImportError: cannot import name 'http' from 'wit_world.imports'",
    ],
)
def test_an_import_that_is_not_declared_is_explained(tmp_path, output):
    sentences = missing_declarations(project(tmp_path), output)
    assert sentences == [
        "the guest imports alga:extension/http: list cap:http.fetch under `capabilities` in manifest.json"
    ]
    assert missing_declarations(project(tmp_path, "cap:http.fetch"), output) == []


def test_an_interface_is_not_taken_for_another_one_with_a_longer_name(tmp_path):
    assert missing_declarations(project(tmp_path), "alga:extension/http-client is unknown") == []
    assert len(missing_declarations(project(tmp_path), "cannot import name 'ui_proxy'")) == 1


def test_the_manifest_written_here_is_valid(tmp_path):
    assert json.loads((project(tmp_path).folder / "manifest.json").read_text())["name"] == "local.notes"
