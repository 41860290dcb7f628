"""Why the stack cannot go on, in words a person can act on: what failed, what its log said last, what to do next."""

from __future__ import annotations

from pathlib import Path
from typing import Final

LOG_TAIL_LINES: Final = 20  # a traceback and its cause fit; more scrolls the reason away
LOG_TAIL_MAX_BYTES: Final = 64 * 1024  # read from the end of a log, however long it is


class StackError(Exception):
    """The stack cannot start, or one of its processes ended.

    Args:
        message: one sentence: what failed.
        log: the file whose last lines say why, or `None`.
        next_step: what the reader can do now.
    """

    def __init__(self, message: str, *, log: Path | None = None, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.log = log
        self.log_tail = tail(log) if log is not None else ""  # now: a directory made for a test may be gone later
        self.next_step = next_step

    def __str__(self) -> str:
        """The whole report, so that a failed fixture shows it as well."""
        return self.report()

    def report(self) -> str:
        """The message, the tail of the log and the next step, ready to be printed."""
        parts = [self.message]
        if self.log is not None:
            parts += [f"--- last lines of {self.log}", self.log_tail or "(empty)", "---"]
        if self.next_step:
            parts.append(f"next: {self.next_step}")
        return "\n".join(parts)


def tail(log: Path) -> str:
    """The last `LOG_TAIL_LINES` lines of `log`; empty when there is no such file."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_TAIL_MAX_BYTES))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-LOG_TAIL_LINES:])


def first_reason(error: BaseException) -> str:
    """What to print for an error that may be a group of them: the first `StackError`'s report, else the error."""
    found = _first(error)
    return found.report() if isinstance(found, StackError) else f"{type(found).__name__}: {found}"


def _first(error: BaseException) -> BaseException:
    if not isinstance(error, BaseExceptionGroup):
        return error
    inner = [_first(each) for each in error.exceptions]
    return next((each for each in inner if isinstance(each, StackError)), inner[0])
