"""`alga-ext`: the command line of extension authors and tenant administrators.

A verb's module is imported when the verb is used. Whatever goes wrong ends in one sentence, one next step and an exit
status (`gateway/cli/failures.py`); with `--json`, in one JSON document.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

import cyclopts

from gateway.cli.failures import CliError, Exit, from_build, from_platform, usage
from gateway.cli.release import release
from gateway.cli.terminal import Terminal
from gateway.cli.toolchains import BuildError
from shared.errors import PlatformError

INTERRUPTED: Final = 130  # 128 + SIGINT, as shells count

_VERBS: Final = {
    "new": ("new:new", "Make a project that builds, tests and runs as it is."),
    "build": ("build:build", "Build the component, when something it depends on has changed."),
    "check": ("check:check", "Check manifest, component, capabilities, sizes and pages, all at once."),
    "pack": ("check:pack", "Pack the project into a bundle."),
    "test": ("trial:trial", "Run the project's own tests, then its component in a real sandbox."),
    "inspect": ("inspect:inspect", "Show what is in a bundle or a component."),
    "diff": ("diff:diff", "Show what changes between two versions."),
    "keygen": ("keys:keygen", "Make a signing key."),
    "sign": ("keys:sign", "Sign a bundle."),
    "verify": ("keys:verify", "Verify a bundle against the keys you trust."),
    "login": ("login:login", "Remember a gateway and a credential for it."),
    "logout": ("login:logout", "Forget them."),
    "publish": ("publish:publish", "Publish a signed bundle."),
    "versions": ("versions:versions", "List the versions of an extension."),
    "deprecate": ("versions:deprecate", "Say that a version should not be used any more, or take that back."),
    "revoke": ("versions:revoke", "Stop a version everywhere, for good."),
    "install": ("install:install", "Install an extension, after showing what it asks for."),
    "upgrade": ("upgrade:upgrade", "Upgrade an install, after showing what changes."),
    "rollback": ("upgrade:rollback", "Go back to the version that ran before."),
    "enable": ("lifecycle:enable", "Let a disabled install run again."),
    "disable": ("lifecycle:disable", "Stop an install; its data and settings stay."),
    "uninstall": ("lifecycle:uninstall", "Uninstall; data are kept for a while, or erased with --purge."),
    "list": ("install:list_installs", "List what is installed."),
    "status": ("status:status", "Show one install: version, grants, what waits, what happened."),
    "config": ("settings:config", "Show or change the settings of an install."),
    "secret": ("secret:secret", "Set, remove or list the secrets of an install; a value never stands in the command."),
    "call": ("call:call", "Call an extension through the gateway."),
    "logs": ("logs:logs", "Show what extensions say, live with -f."),
    "dev": ("dev:dev", "Watch the project: build, publish, upgrade, reload the page, show the log."),
    "doctor": ("doctor:doctor", "Look for what could be in the way."),
}
"""Verb → function below `gateway.cli.verbs` and its sentence, in the order in which an author meets them."""

_HELP: Final = """Extensions: from a new project to a call.

    alga-ext new hello && cd hello
    alga-ext dev                       (watches, builds, runs; or step by step:)
    alga-ext build && alga-ext check && alga-ext test
    alga-ext keygen --trust-local
    alga-ext pack && alga-ext sign && alga-ext publish
    alga-ext install && alga-ext call GET /hello
"""


def app(chosen: str | None = None) -> cyclopts.App:
    """The command line with all its verbs.

    Args:
        chosen: the verb that will run; its help is its function's, that of the others the sentence in the list, for
            which no module has to be imported.
    """
    found = cyclopts.App(
        name="alga-ext",
        help=_HELP,
        help_format="plaintext",
        version=release,
        default_parameter=cyclopts.Parameter(negative=()),
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
    )
    for order, (verb, (place, sentence)) in enumerate(_VERBS.items()):
        found.command(
            f"gateway.cli.verbs.{place}", name=verb, help=None if verb == chosen else sentence, sort_key=order
        )
    found.register_install_completion_command(help="Install the completion of verbs and options into your shell.")
    return found


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit status."""
    terminal = Terminal(json="--json" in _options(arguments))
    try:
        status = app(arguments[0] if arguments else None)(list(arguments))
        return Exit.OK if status is None else int(status)
    except cyclopts.CycloptsError as error:
        verb = f"{arguments[0]} " if arguments and arguments[0] in _VERBS else ""
        return _ended(terminal, usage(_first_line(error), next_step=f"alga-ext {verb}--help lists what can be said"))
    except CliError as error:
        return _ended(terminal, error)
    except BuildError as error:
        return _ended(terminal, from_build(error))
    except PlatformError as error:
        return _ended(terminal, from_platform(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read has left, as `head` does. What is still buffered must not fail again at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.FAILED
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _ended(
            terminal,
            CliError(
                f"{place}{error.strerror or error}",
                next_step="check that the file or folder is there and may be read and written",
                code="cli_io",
            ),
        )


def main() -> int:
    """The entry point of the installed program."""
    return run(sys.argv[1:])


def _ended(terminal: Terminal, error: CliError) -> int:
    terminal.fail(error)
    return error.exit_status


def _options(arguments: Sequence[str]) -> Sequence[str]:
    """What stands before `--`, behind which nothing is an option."""
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _first_line(error: cyclopts.CycloptsError) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "the command line is not valid")


if __name__ == "__main__":
    sys.exit(main())
