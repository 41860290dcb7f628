"""Virtual environments beside the main one, for programs that pin other versions of our libraries.

The S3 server needs its own botocore. An environment is built once from a lock file with hashes, from whatever
index this machine is configured with; a stamp inside it says whether it is still the right one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path
from typing import Final

from deploy.local.failures import StackError
from deploy.local.locks import exclusive
from deploy.local.processes import Program, finish

ROOT: Final = Path(__file__).resolve().parents[2]
VENVS: Final = ROOT / ".local" / "venvs"
INSTALL_MAX_S: Final = 300.0  # 18 wheels over a slow line
_STAMP: Final = ".stamp"  # also the target of the Makefile, which leaves it empty


async def ensure(name: str) -> Path:
    """The Python of the environment `name`, built from `requirements-<name>.lock` when missing or outdated.

    Safe to call from several processes at once: one builds, the others wait.

    Raises:
        StackError: the packages could not be installed.
    """
    lock = ROOT / f"requirements-{name}.lock"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    place = VENVS / name
    VENVS.mkdir(parents=True, exist_ok=True)
    async with exclusive(VENVS / f"{name}.lock"):
        if not _is_current(place / _STAMP, lock, wanted):
            await _build(place, lock)
            (place / _STAMP).write_text(wanted)
    return place / "bin" / "python"


def _is_current(stamp: Path, lock: Path, wanted: str) -> bool:
    if not stamp.exists():
        return False
    text = stamp.read_text()
    return text == wanted or (not text and stamp.stat().st_mtime >= lock.stat().st_mtime)


async def _build(place: Path, lock: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    python = str(place / "bin" / "python")
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is not None:
        steps = [
            (uv, "venv", "--quiet", "--python", sys.executable, str(place)),
            (uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", str(lock)),
        ]
    else:
        steps = [
            (sys.executable, "-m", "venv", str(place)),
            (python, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(lock)),
        ]
    for number, step in enumerate(steps):
        log = place.with_name(f"{place.name}-{number}.log")
        # The whole environment: which index to ask, through which proxy, is this machine's business.
        program = Program(name=f"{place.name} environment", argv=step, env=os.environ, log=log, cwd=ROOT)
        try:
            await finish(program, within_s=INSTALL_MAX_S)
        except StackError as error:
            raise StackError(
                f"the packages of {lock.name} could not be installed",
                log=log,
                next_step="check that this machine's package index is reachable, then run the same command again",
            ) from error
