"""A real S3 server for the tests that need one: started once, on loopback, its objects thrown away at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from deploy.local.s3 import S3, s3
from runner.settings import StoreSettings


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def store_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[S3]:
    """The server, with a user for each role."""
    async with s3(tmp_path_factory.mktemp("s3") / "objects", keep=False) as running:
        yield running


def store_settings(root: Path, endpoint: str, access_key: str = "key", secret_key: str = "secret") -> StoreSettings:
    """Settings of a store at `endpoint`, with the cache below `root`."""
    return StoreSettings(
        ext_mode="local",
        ext_cache_root=root / "cache",
        ext_internal_ca="",
        ext_internal_plaintext="",
        runner_fuel=False,
        signing_trust_bundle="",
        storage_s3_endpoint=endpoint,
        storage_s3_region="us-east-1",
        storage_s3_access_key=access_key,
        storage_s3_secret_key=secret_key,
        storage_s3_bucket="alga-bundles",
        storage_s3_bundle_bucket=None,
        storage_s3_force_path_style=True,
    )
