"""A real host application, and a guest that may call its services."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from runner.capabilities import provider as capability
from runner.capabilities.capability import Capability
from runner.capabilities.table import with_services
from runner.clients.http import open_session
from runner.clients.provider import ProviderClient
from shared.provider_files import shipped
from tests.host_application import HostApplication, host_application
from tests.runner.capabilities.service_guest import KEY, Guest
from tests.runner.conftest import store_settings


@pytest.fixture
async def host() -> AsyncIterator[HostApplication]:
    async with host_application(KEY.public) as served:
        yield served


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[ProviderClient]:
    async with open_session(store_settings(tmp_path, "http://127.0.0.1:1")) as session:
        yield ProviderClient(session)


@pytest.fixture
def table(host: HostApplication, client: ProviderClient) -> Mapping[str, Capability]:
    return with_services(*(capability.capability(one, host.url(one.name), client) for one in shipped()))


@pytest.fixture
def guest(table: Mapping[str, Capability]) -> Guest:
    return Guest(table, shipped())
