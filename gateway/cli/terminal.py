"""What a command says, and where: answers on standard output, everything else on standard error.

With `--json` standard output holds JSON only: one document, which is the command's result or its error. Colour and
moving progress appear on a terminal only. Nothing that others wrote (manifests, log lines, answers of guests) reaches
a terminal before it is made printable, since a terminal obeys what it is sent.
"""

from __future__ import annotations

import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TextIO

import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from gateway.cli.failures import CliError
from shared.terminal_safe import terminal_safe

WORTH_TELLING_S: Final = 1.0  # work that takes longer says how long it took

_UNPRINTABLE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # controls, bidi and invisible marks, odd line ends


def printable(text: str, *, lines: bool = False) -> str:
    r"""`text` with everything a terminal would obey written out, such as `\x1b`.

    Args:
        lines: keep line breaks and tabs.
    """
    kept = "\n\t" if lines else ""
    return "".join(
        letter if letter in kept or unicodedata.category(letter) not in _UNPRINTABLE else _written_out(letter)
        for letter in text
    )


def _written_out(letter: str) -> str:
    return letter.encode("ascii", "backslashreplace").decode() if ord(letter) > 127 else f"\\x{ord(letter):02x}"


class Terminal:
    """The two streams of one command.

    Args:
        json: print JSON documents instead of sentences.
        out: standard output.
        err: standard error.
    """

    def __init__(self, *, json: bool, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.json = json
        self._file = out or sys.stdout
        self._out = _console(self._file)
        self._err = _console(err or sys.stderr)

    # ---- answers --------------------------------------------------------------------------------------------

    def say(self, text: str, style: str = "") -> None:
        """A line of the answer, for people."""
        if not self.json:
            self._out.print(Text(printable(text, lines=True), style=style), soft_wrap=True)

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Rows of the answer, for people: one line each, however wide, so that other programs can cut them."""
        cells = [[printable(cell) for cell in row] for row in (heads, *rows)]
        widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
        for index, row in enumerate(cells):
            padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
            self.say("  ".join(padded).rstrip(), "" if index else "bold")

    def document(self, value: object) -> None:
        """The answer as JSON; nothing when people are addressed."""
        if self.json:
            self._write(terminal_safe(msgspec.json.format(msgspec.json.encode(value), indent=2)).decode() + "\n")

    def line(self, value: object) -> None:
        """One of many answers as a line of JSON; nothing when people are addressed."""
        if self.json:
            self._write(terminal_safe(msgspec.json.encode(value)).decode() + "\n")

    def bytes(self, data: bytes) -> None:
        """An answer as it came: byte for byte into a file or pipe, made printable on a terminal."""
        if self.on_screen:
            self.say(data.decode("utf-8", "backslashreplace"))
            return
        self._file.flush()
        self._file.buffer.write(data)
        self._file.flush()

    @property
    def on_screen(self) -> bool:
        """Whether standard output is a terminal."""
        return self._out.is_terminal

    # ---- remarks --------------------------------------------------------------------------------------------

    def note(self, text: str, style: str = "dim") -> None:
        """A remark that is no part of the answer; told to people only."""
        if not self.json:
            self._err.print(Text(printable(text, lines=True), style=style), soft_wrap=True)

    def warn(self, text: str) -> None:
        """Something that may not be meant; told to people only, the JSON answer has it as a member."""
        self.note(f"warning: {text}", "yellow")

    def fail(self, error: CliError) -> None:
        """The error that ends the command, with the next step."""
        if self.json:
            self.document(error.document())
            return
        self.note(f"error: {error.what}", "bold red")
        for detail in error.details:
            self.note(f"  {detail}", "")
        self.note(f"next: {error.next_step}", "cyan")

    # ---- work that takes a while ----------------------------------------------------------------------------

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Show that something is being done, and how long it took when that was more than a second."""
        started = time.monotonic()
        if self._err.is_terminal and not self.json:
            columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
            with Progress(*columns, console=self._err, transient=True) as progress:
                progress.add_task(printable(text), total=None)
                yield
        else:
            self.note(f"{text} …")
            yield
        took_s = time.monotonic() - started
        if took_s > WORTH_TELLING_S:
            self.note(f"{text}: {took_s:.1f} s")

    @contextmanager
    def sending(self, text: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
        """Show how much of `total_bytes` went out; the caller reports each piece."""
        if not self._err.is_terminal or self.json:
            with self.working(text):
                yield _ignore
            return
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._err, transient=True) as progress:
            task = progress.add_task(printable(text), total=total_bytes)
            yield lambda sent_bytes: progress.advance(task, sent_bytes)

    # ---- questions ------------------------------------------------------------------------------------------

    @property
    def can_ask(self) -> bool:
        """Whether somebody sits there who could answer."""
        return not self.json and sys.stdin.isatty() and self._err.is_terminal

    def ask(self, question: str) -> str:
        """What the person types, trimmed; nothing at the end of input."""
        try:
            return self._err.input(Text(printable(question) + " "), markup=False).strip()
        except EOFError:
            return ""

    def ask_hidden(self, question: str) -> str:
        """What the person types, without showing it; nothing at the end of input."""
        try:
            return self._err.input(Text(printable(question) + " "), markup=False, password=True)
        except EOFError:
            return ""

    def _write(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()


def _console(file: TextIO) -> Console:
    terminal = file.isatty()
    return Console(
        file=file,
        force_terminal=terminal,
        color_system="auto" if terminal else None,
        markup=False,
        highlight=False,
        emoji=False,
    )


def _ignore(_sent_bytes: int) -> None:
    """Nobody watches."""


def as_text(value: Any) -> str:
    """A JSON value on one line, for people: texts bare, the rest as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
