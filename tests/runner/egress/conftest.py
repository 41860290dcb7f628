"""The certificate authority of these tests."""

from __future__ import annotations

import pytest

from tests.runner.egress.certificates import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Signs what upstreams show; nobody trusts it who was not told to."""
    return Authority(tmp_path_factory.mktemp("authority"))
