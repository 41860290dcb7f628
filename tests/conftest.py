"""What every suite shares: how property tests are run, and the running platform.

No deadline per example, since the machine is shared and a slow example is not a wrong one; CI draws the same examples
every time, so that a failure there can be repeated here, while a developer's runs keep exploring.

One stack serves all suites of a session that want one: both services, real PostgreSQL, Redis and S3, three guests, two
tenants, on random ports, in a directory of its own. Built guests come from the same place as `make run`'s. It ends with
the session, also when that is killed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from deploy.local.record import Stack

settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


@pytest.fixture(autouse=True)
def loggers_that_captures_see(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A service's loggers keep the configuration they were first used with; here the next test may want another."""
    configure = structlog.configure

    def without_keeping(**settings: Any) -> None:
        configure(**{**settings, "cache_logger_on_first_use": False})

    monkeypatch.setattr(structlog, "configure", without_keeping)
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def stack_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the session's stack keeps its data, keys and logs."""
    return tmp_path_factory.mktemp("stack")


@pytest.fixture(scope="session")
def stack(stack_directory: Path) -> Iterator[Stack]:
    """The running stack, as its `stack.json` describes it."""
    from deploy.local import background, commands  # here, so that suites without a stack do not load the platform
    from deploy.local.progress import Progress
    from deploy.local.stack import Options

    try:
        with background.attached(Options(directory=stack_directory, random_ports=True)) as running:
            yield running
    finally:
        commands.reset(stack_directory, Progress(), keep=frozenset({"logs"}))
