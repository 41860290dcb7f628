"""What a person sees while a bench runs: a line on standard error for each step; standard output is for the rows."""

from __future__ import annotations

import sys
import time


def say(text: str) -> None:
    """One line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
