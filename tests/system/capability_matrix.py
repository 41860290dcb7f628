"""A plugin of pytest that prints what `test_capabilities.py` found as a table: `-p tests.system.capability_matrix`.

One line a function, one column a language and kind of install. A dash is a function that guests of this language cannot
reach; FAILED is one whose answer was not what its interface documents. `--capabilities-json FILE` writes the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

KINDS: Final = ("granted", "denied")
LANGUAGES: Final = {"quickjs": "quickjs", "starlingmonkey": "starling", "python": "python"}

Case = tuple[str, str, str]
"""Function, engine, kind."""


class Matrix:
    """Collects results by function, engine and kind."""

    def __init__(self) -> None:
        self.results: dict[Case, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the result of one call."""
        told = {name: str(value) for name, value in report.user_properties}
        if "capability" in told and report.when == "call":
            function, engine, kind = told["capability"].split()
            word = told.get("result", "no answer")
            self.results[function, engine, kind] = word if report.passed else f"FAILED ({word})"

    def lines(self) -> Iterator[str]:
        """The table."""
        from tests.system.capability_rows import (
            ROWS,
        )  # here, since this module is loaded before assertions are rewritten

        columns = [(engine, kind) for engine in LANGUAGES for kind in KINDS]
        rows = [["interface", "function", *(f"{LANGUAGES[engine]} {kind}" for engine, kind in columns)]]
        for row in ROWS:
            interface, _, function = row.function.partition("/")
            found = [
                self.results.get((row.function, engine, kind), "not run") if engine in row.reached else "-"
                for engine, kind in columns
            ]
            rows.append([interface, function, *found])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row_of_text in rows:
            yield "  ".join(text.ljust(width) for text, width in zip(row_of_text, widths, strict=True)).rstrip()

    def json(self) -> str:
        """The results as a list of objects."""
        names = ("interface", "function", "language", "install", "result")
        found = [
            dict(zip(names, (*function.split("/", 1), engine, kind, result), strict=True))
            for (function, engine, kind), result in self.results.items()
        ]
        return json.dumps(found, indent=1) + "\n"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--capabilities-json`."""
    parser.addoption("--capabilities-json", type=Path, metavar="FILE", help="write the capability matrix to FILE, too")


def pytest_configure(config: pytest.Config) -> None:
    """Start collecting."""
    config.pluginmanager.register(Matrix(), "capability-matrix")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what was collected."""
    matrix = config.pluginmanager.get_plugin("capability-matrix")
    assert isinstance(matrix, Matrix)
    terminalreporter.section("capabilities")
    for line in matrix.lines():
        terminalreporter.write_line(line)
    if (file := config.getoption("--capabilities-json")) is not None:
        file.write_text(matrix.json(), encoding="utf-8")
