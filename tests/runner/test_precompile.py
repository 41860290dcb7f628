"""The command's own words: which engine it may make code for, what it takes as a list, what it tells."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog

from runner import precompile
from runner.aot.precompile import Outcome, Report
from runner.precompile import JOBS_MAX, RefusedError, check_engine, main, progress, summary
from runner.sandbox.engine import EngineOptions, engine_id
from shared.ids import ContentHash

HERE = "wasmtime-50.0.1-0123456789abcdef"
DIGEST = ContentHash("sha256:" + "ab" * 32)


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """The command sets up the logs of its process; here that process goes on with other tests."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("wanted", ["current", HERE])
def test_the_engine_that_is_installed_may_be_named_or_called_current(wanted: str):
    check_engine(wanted, HERE)


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("wasmtime-51.0.0-0123456789abcdef", "needs wasmtime 51.0.0. Run the command in the image that has it"),
        ("wasmtime-49.0.4-0123456789abcdef", "needs wasmtime 49.0.4"),
        ("wasmtime-50.0.1-fedcba9876543210", "its release or RUNNER_FUEL differs"),
        ("51.0.0", f"an engine id such as '{HERE}'"),
        ("", "must be 'current'"),
        ("CURRENT", "must be 'current'"),
        (HERE + "\n", "must be 'current'"),
    ],
)
def test_another_engine_is_refused_with_the_next_step(wanted: str, says: str):
    with pytest.raises(RefusedError) as raised:
        check_engine(wanted, HERE)
    assert says in str(raised.value)


@pytest.mark.parametrize("fuel", [False, True])
def test_the_real_engine_ids_are_understood(fuel: bool):
    here = engine_id(EngineOptions(fuel=fuel))
    check_engine(here, here)
    with pytest.raises(RefusedError, match="RUNNER_FUEL"):
        check_engine(engine_id(EngineOptions(fuel=not fuel)), here)


@pytest.mark.parametrize("jobs", ["0", str(JOBS_MAX + 1), "-1", "x", "1.5", "", "²"])
def test_a_number_of_jobs_outside_the_limits_is_refused(jobs: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as raised:
        main(["--engine", "current", "--jobs", jobs], {})
    assert raised.value.code == 2
    assert f"from 1 to {JOBS_MAX}" in capsys.readouterr().err


@pytest.mark.parametrize("jobs", ["1", str(JOBS_MAX)])
def test_numbers_at_the_limits_are_taken(jobs: str, capsys: pytest.CaptureFixture[str]):
    assert main(["--engine", "current", "--jobs", jobs], {}) == precompile.REFUSED
    assert "is required" in capsys.readouterr().err  # the settings come next


def test_the_engine_has_to_be_said():
    with pytest.raises(SystemExit) as raised:
        main([], {})
    assert raised.value.code == 2


def report(**changes: object) -> Report:
    whole: dict[str, object] = {
        "engine_id": HERE,
        "cpu_target": "x86_64",
        "complete": True,
        "interrupted": False,
        "total": 4,
        "needed": 3,
        "ready": 3,
        "counts": {"compiled": 2, "present": 1, "rejected": 1},
        "unready": [],
        "seconds": 1.0,
    }
    return Report(**{**whole, **changes})  # type: ignore[arg-type]


def test_a_complete_run_says_so_in_one_line():
    assert summary(report()) == f"3 of 3 ready (100 %) for {HERE}: 2 compiled, 1 present, 1 rejected"


def test_an_incomplete_run_names_what_is_not_ready_and_the_next_step():
    failed = Outcome(content_hash=DIGEST, status="failed", code="component_invalid", detail="it does not compile")
    lines = summary(report(complete=False, needed=201, ready=200, unready=[failed])).splitlines()
    assert lines[0].startswith("200 of 201 ready (99 %)")  # never rounded up to a hundred
    assert f"{DIGEST}  component_invalid: it does not compile" in lines[1]
    assert "run it again" in lines[2]


def test_an_empty_store_is_not_complete_and_says_how_it_would_be():
    text = summary(report(complete=False, total=0, needed=0, ready=0, counts={}))
    assert "(0 %)" in text
    assert "--allow-empty" in text


@pytest.mark.security
def test_a_publishers_text_cannot_write_to_the_terminal():
    line = progress(
        Outcome(content_hash=DIGEST, status="failed", name="a\x1b[2Jb", code="x", detail="one\ntwo\r" + "x" * 10_000)
    )
    assert "a?[2Jb" in line
    assert "one?two?" in line
    assert "\n" not in line
    assert len(line) < 1_000
