"""What may be set about services of a host application: the same directory for all roles, an address for each service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner.settings import read_compiler, read_runner
from shared.provider_files import shipped
from shared.settings import SettingError
from tests.runner.test_settings import COMPILER, RUNNER
from tests.shared.provider_sources import CRM_TOML, provider_files

URL = "https://app.example.com/extensions"
BOTH = pytest.mark.parametrize(("read", "enough"), [(read_runner, RUNNER), (read_compiler, COMPILER)])


def refused(**changes: str) -> str:
    with pytest.raises(SettingError) as raised:
        read_runner({**RUNNER, **changes})
    return str(raised.value)


@BOTH
@pytest.mark.parametrize("value", [{}, {"EXT_PROVIDERS_DIR": ""}])
def test_without_a_directory_there_are_the_reference_services(read: Any, enough: dict[str, str], value: Any) -> None:
    assert read({**enough, **value}).providers is shipped()


@BOTH
def test_a_directory_adds_to_them(read: Any, enough: dict[str, str], tmp_path: Path) -> None:
    found = read({**enough, "EXT_PROVIDERS_DIR": str(provider_files(tmp_path))}).providers
    assert [one.name for one in found] == ["clients", "crm", "invoicing", "services"]


@BOTH
def test_a_wrong_file_stops_the_start_with_its_line(read: Any, enough: dict[str, str], tmp_path: Path) -> None:
    provider_files(tmp_path, toml=CRM_TOML.replace("snake", "kebab"))
    with pytest.raises(SettingError, match=r"EXT_PROVIDERS_DIR: .*crm\.toml:4: case must be one of camel, snake"):
        read({**enough, "EXT_PROVIDERS_DIR": str(tmp_path)})


def test_each_address_is_one_services(tmp_path: Path) -> None:
    directory = str(provider_files(tmp_path))
    value = f"clients={URL}/clients, crm=https://crm.example.com/x/"
    read = read_runner({**RUNNER, "EXT_PROVIDERS_DIR": directory, "RUNNER_PROVIDER_ENDPOINTS": value})
    assert dict(read.runner_provider_endpoints) == {"clients": f"{URL}/clients", "crm": "https://crm.example.com/x"}
    assert read_runner(RUNNER).runner_provider_endpoints == ()


@pytest.mark.parametrize(
    "value",
    [
        URL,
        f"={URL}",
        "clients",
        "clients=",
        "clients=ftp://app.example.com",
        "clients=/extensions",
        "clients=https://user:password@app.example.com",
        f"clients={URL}?a=b",
        f"clients={URL}#a",
        f"clients={URL},clients={URL}/2",
    ],
)
def test_an_address_that_is_none_is_refused(value: str) -> None:
    assert refused(RUNNER_PROVIDER_ENDPOINTS=value).startswith("RUNNER_PROVIDER_ENDPOINTS: ")


def test_an_address_of_nobody_is_refused_with_whom_there_are() -> None:
    said = refused(RUNNER_PROVIDER_ENDPOINTS=f"crm={URL}")
    assert said == "RUNNER_PROVIDER_ENDPOINTS: crm is no provider's endpoint; clients, invoicing, services are"


def test_tokens_and_users_travel_encrypted_beyond_this_machine() -> None:
    assert "use https" in refused(RUNNER_PROVIDER_ENDPOINTS="clients=http://app.internal/x")
    for fine in (
        {"RUNNER_PROVIDER_ENDPOINTS": "clients=http://127.0.0.1:3000/x"},
        {"RUNNER_PROVIDER_ENDPOINTS": "clients=http://app.internal/x", "EXT_INTERNAL_PLAINTEXT": "mesh"},
        {"RUNNER_PROVIDER_ENDPOINTS": f"clients={URL}"},
    ):
        read_runner({**RUNNER, **fine})
