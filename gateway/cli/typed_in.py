"""A value that must not stand on a command line, where every process of the machine sees it and the shell keeps it."""

from __future__ import annotations

import sys

from gateway.cli.failures import usage
from gateway.cli.terminal import Terminal


def hidden(what: str, terminal: Terminal, *, max_bytes: int, otherwise: str) -> str:
    """From a prompt that does not show it, or all of standard input without its last line end.

    Args:
        what: what is asked for, for people.
        terminal: whose prompt it is.
        max_bytes: of the value in UTF-8.
        otherwise: the next step when there is none.

    Raises:
        CliError: nothing came, too much, or no UTF-8.
    """
    if terminal.can_ask:
        data = terminal.ask_hidden(f"{what}:").encode("utf-8", "surrogateescape")
    else:
        data = sys.stdin.buffer.read(max_bytes + 3)  # one byte too many, and a line end
        data = data.removesuffix(b"\n").removesuffix(b"\r")
    if len(data) > max_bytes:
        raise usage(f"{what} has at most {max_bytes} bytes", next_step="check what was given")
    try:
        value = data.decode()
    except UnicodeDecodeError:
        raise usage(f"{what} is not UTF-8 text", next_step="encode it, for instance with base64") from None
    if not value:
        raise usage("there is no value", next_step=otherwise)
    return value
