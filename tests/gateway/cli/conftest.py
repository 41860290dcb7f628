"""What the command line's tests share: a small gateway, and a run of a command in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.main import run
from tests.gateway.cli.small_gateway import SmallGateway, serving


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Ran]


@pytest.fixture
def small_gateway() -> Iterator[SmallGateway]:
    with serving() as gateway:
        yield gateway


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder is an empty one, and nothing of this machine's settings is seen."""
    for name in ("ALGA_EXT_URL", "ALGA_EXT_TOKEN", "ALGA_EXT_KEY", "ALGA_STACK", "SIGNING_TRUST_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


@pytest.fixture
def command(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `alga-ext` with these words."""

    def ran(*words: object) -> Ran:
        capsys.readouterr()
        status = run([str(word) for word in words])
        said = capsys.readouterr()
        return Ran(status, said.out, said.err)

    return ran


@pytest.fixture
def at(small_gateway: SmallGateway, monkeypatch: pytest.MonkeyPatch, elsewhere: Path) -> SmallGateway:
    """The small gateway, named by the environment with a credential."""
    monkeypatch.setenv("ALGA_EXT_URL", small_gateway.url)
    monkeypatch.setenv("ALGA_EXT_TOKEN", "ak_test_secret")
    return small_gateway
