"""`python -m deploy.local up [--detach] | down | status [--json] | reset`: the stack's commands.

up       start everything; Ctrl-C stops it. With `--detach` return when every service is ready.
down     stop the stack of a directory.
status   which services answer; exit status 0 only when all do.
reset    stop it and forget its data; built samples and downloaded packages stay.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from deploy.local import background, commands, samples, stack
from deploy.local.failures import StackError, first_reason
from deploy.local.progress import Progress

DEFAULT_DIRECTORY: Final = Path(__file__).resolve().parents[2] / ".local"


def main(arguments: list[str]) -> int:
    """Run one command: 0 when it did what it says, 1 when it could not, 2 for a wrong call."""
    parser = _parser()
    given = parser.parse_args(arguments)
    directory = Path(given.dir).absolute()
    progress = Progress()
    try:
        match given.command:
            case "up":
                chosen = samples.choose(given.samples)
                options = stack.Options(directory=directory, samples=chosen, random_ports=given.ports == "random")
                if given.detach:
                    background.detached(options)
                    return 0
                return commands.up(options, progress, given.ready_fd)
            case "down":
                return commands.down(directory, progress)
            case "status":
                return commands.status(directory, as_json=given.json)
            case _:
                return commands.reset(directory, progress)
    except (StackError, BaseExceptionGroup) as error:
        progress.failed(first_reason(error))
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description="The local stack.", allow_abbrev=False)
    verbs = parser.add_subparsers(dest="command", required=True, metavar="up|down|status|reset")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--dir", default=str(DEFAULT_DIRECTORY), metavar="D", help="where the stack keeps everything")
    up = verbs.add_parser("up", parents=[common], help="start everything", allow_abbrev=False)
    up.add_argument("--detach", action="store_true", help="return when every service is ready; `down` stops it")
    up.add_argument("--samples", default="all", metavar="LIST", help="all, none, or names separated by commas")
    up.add_argument("--ports", choices=("default", "random"), default="default", help="which ports a first start takes")
    up.add_argument("--ready-fd", type=int, default=None, help=argparse.SUPPRESS)
    verbs.add_parser("down", parents=[common], help="stop the stack", allow_abbrev=False)
    status = verbs.add_parser("status", parents=[common], help="which services answer", allow_abbrev=False)
    status.add_argument("--json", action="store_true", help="for programs")
    verbs.add_parser("reset", parents=[common], help="stop the stack and forget its data", allow_abbrev=False)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
