"""The gateway reads the same descriptions as compiler and runner: what may be asked for, granted and minted for."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.settings import load_settings
from shared.provider_files import shipped
from shared.settings import SettingError
from tests.gateway.test_settings import ENOUGH
from tests.shared.provider_sources import CRM_WIT, provider_files


@pytest.mark.parametrize("value", [{}, {"EXT_PROVIDERS_DIR": ""}])
def test_without_a_directory_there_are_the_reference_services(value: dict[str, str]) -> None:
    assert load_settings({**ENOUGH, **value}).providers is shipped()


def test_a_directory_adds_to_them(tmp_path: Path) -> None:
    found = load_settings({**ENOUGH, "EXT_PROVIDERS_DIR": str(provider_files(tmp_path))}).providers
    assert found.capabilities == shipped().capabilities | {"cap:crm.read"}


def test_a_wrong_file_stops_the_start_with_its_line(tmp_path: Path) -> None:
    provider_files(tmp_path, wit=CRM_WIT.replace("at-most: u32", "at-most: number"))
    with pytest.raises(SettingError, match=r"EXT_PROVIDERS_DIR: .*crm\.wit:11: expected a known type"):
        load_settings({**ENOUGH, "EXT_PROVIDERS_DIR": str(tmp_path)})
