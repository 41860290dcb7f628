"""What a person sees while the stack starts: one line for every step, with its seconds since the start.

Steps run side by side, so a line is printed when a step is done, and one when a long step begins.
"""

from __future__ import annotations

import sys
import time
from typing import Final, TextIO

_DIM: Final = "\033[2m"
_GREEN: Final = "\033[32m"
_RED: Final = "\033[31m"
_YELLOW: Final = "\033[33m"
_RESET: Final = "\033[0m"


class Progress:
    """Prints steps to `out`; coloured only when `out` is a terminal."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._colour = self._out.isatty()
        self._started = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first line could have been printed."""
        return time.monotonic() - self._started

    def begun(self, text: str) -> None:
        """A step that takes a while has begun."""
        self._line("…", _DIM, text)

    def done(self, text: str) -> None:
        """A step is complete."""
        self._line("✓", _GREEN, text)

    def note(self, text: str) -> None:
        """Something the reader should know, though nothing failed."""
        self._line("!", _YELLOW, text)

    def failed(self, text: str) -> None:
        """The stack cannot go on."""
        self._line("✗", _RED, text)

    def plain(self, text: str) -> None:
        """A line without a time, for what is left to read at the end."""
        print(text, file=self._out, flush=True)

    def _line(self, mark: str, colour: str, text: str) -> None:
        seconds = f"{self.elapsed_s:6.1f} s"
        if self._colour:
            seconds, mark = f"{_DIM}{seconds}{_RESET}", f"{colour}{mark}{_RESET}"
        print(f"{seconds}  {mark} {text}", file=self._out, flush=True)
