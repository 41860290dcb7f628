"""Services of a host application at the command line: explained at consent, checked and packed like any other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.cli.checking import check_project
from gateway.cli.consent import show
from gateway.cli.providers import providers_here
from shared.manifest import stored_manifest
from shared.provider_files import shipped
from tests.gateway.cli.projects import manifest, pages_only
from tests.gateway.cli.test_consent import Person
from tests.shared.provider_sources import provider_files


def shown(*capabilities: str) -> str:
    person = Person()
    show(stored_manifest(json.dumps(manifest(capabilities=list(capabilities))).encode()), person)
    return "\n".join(person.heard)


def test_consent_says_what_each_service_lets_an_extension_do() -> None:
    text = shown("cap:client.read", "cap:invoice.manual.create", "cap:service.read")
    for one in shipped():
        assert f"{one.capability}  {one.description} (a service of the host application)" in text


def test_consent_to_a_service_that_is_not_described_here_names_it_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "cap:crm.read  uses a service of the host application" in shown("cap:crm.read")
    monkeypatch.setenv("EXT_PROVIDERS_DIR", str(provider_files(tmp_path)))
    assert "cap:crm.read  reads contacts (a service of the host application)" in shown("cap:crm.read")


def test_checking_knows_the_services_that_the_operator_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pages_only(tmp_path / "project", capabilities=["cap:crm.read"])
    report = check_project(folder, allow_unused_imports=False)
    assert [problem.code for problem in report.errors()] == ["capability_unknown"]
    monkeypatch.setenv("EXT_PROVIDERS_DIR", str(provider_files(tmp_path / "providers")))
    report = check_project(folder, allow_unused_imports=False)
    assert report.ok, report.problems


def test_without_the_variable_there_are_the_reference_services() -> None:
    assert providers_here({}) is shipped()
    assert providers_here({"EXT_PROVIDERS_DIR": ""}) is shipped()
