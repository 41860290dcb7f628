"""The images' health check: `python -I probe.py PORT PATH` asks our own listener on loopback and exits 0 for a 200.

A script that is copied into the images, where there is no curl and need be no shell. It imports nothing of ours, so
that it starts in milliseconds and cannot be broken by what it checks.
"""  # noqa: INP001 - a script, never imported: nothing else stands in this folder

from __future__ import annotations

import sys
from http.client import HTTPConnection, HTTPException
from typing import Final

WITHIN_S: Final = 4.0  # below the image's own limit of 5 s, so that the reason is told


def ask(port: int, path: str) -> str | None:
    """Why the listener is not well; `None` when it answered 200."""
    connection = HTTPConnection("127.0.0.1", port, timeout=WITHIN_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read(2048)
    except (OSError, HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    return None if answer.status == 200 else f"{answer.status} {body.decode('utf-8', 'replace')}"


def main(arguments: list[str]) -> int:
    """The exit status: 0 well, 1 not well with the reason on standard output, 2 not called as it should be."""
    if len(arguments) != 2 or not arguments[0].isdecimal() or not arguments[1].startswith("/"):
        sys.stderr.write("usage: probe.py PORT PATH\n")
        return 2
    reason = ask(int(arguments[0]), arguments[1])
    if reason is not None:
        sys.stdout.write(f"{reason}\n")  # what `docker inspect` shows of a failed check
    return int(reason is not None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
