"""An installed extension's UI, served."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.trust import TrustStore
from tests.runner.assets.served import EXTENSION, FILES, KEY, Site, site
from tests.runner.memory_store import MemoryObjects
from tests.runner.published import Published, publish, trusting


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return publish(tmp_path_factory.mktemp("bundle"), KEY, FILES)


@pytest.fixture
def trust() -> TrustStore:
    return trusting(KEY)


@pytest.fixture
async def served(bundle: Published, trust: TrustStore, tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path, MemoryObjects(bundle.objects), trust) as running:
        running.install(bundle.content_hash)
        yield running


@pytest.fixture
def base(bundle: Published) -> str:
    return f"/ext-ui/{EXTENSION}/{bundle.content_hash}/"
