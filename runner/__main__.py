"""`python -m runner [--role runner|compiler]`: starts one of the two roles of this code."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

from runner.sandbox.hardening import leave_no_core
from runner.settings import COMPILER_VARIABLES, RUNNER_VARIABLES, read_compiler, read_runner
from runner.variables import LOCAL
from shared import logs, settings


def main() -> int:
    """Read the settings, then serve until SIGTERM. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m runner", description="The runner, or its compiler role.")
    parser.add_argument("--role", choices=("runner", "compiler"), default="runner")
    role = parser.parse_args().role
    logs.configure(role)
    leave_no_core(readable=os.environ.get("EXT_MODE") == LOCAL)
    for warning in settings.unknown(os.environ, RUNNER_VARIABLES, COMPILER_VARIABLES):
        print(f"warning: {warning}", file=sys.stderr)
    try:
        if role == "compiler":
            from runner.aot.serve import run_compiler

            run_compiler(read_compiler(os.environ))
        else:
            from runner.supervisor.supervise import Supervisor

            asyncio.run(Supervisor(read_runner(os.environ)).run())
    except (settings.SettingError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
