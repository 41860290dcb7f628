"""Children are probed until ready, stopped with everything they started, and never outlive us."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from deploy.local.failures import StackError
from deploy.local.processes import Program, finish, plain_environment, running

ROOT = Path(__file__).resolve().parents[2]

STUBBORN = """
import pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[1]).write_text(str(worker.pid))
time.sleep(600)
"""


def _python(tmp_path: Path, code: str, *arguments: str, stop_s: float = 10.0) -> Program:
    return Program(
        name="child",
        argv=(sys.executable, "-c", code, *arguments),
        env=plain_environment(),
        log=tmp_path / "child.log",
        cwd=tmp_path,
        stop_s=stop_s,
    )


async def test_a_child_is_awaited_until_its_probe_says_yes(tmp_path: Path) -> None:
    mark = tmp_path / "ready"
    code = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"

    async def probe() -> bool:
        return mark.exists()

    async with running(_python(tmp_path, code, str(mark))) as child:
        await child.until(probe, within_s=30)
        assert mark.exists()


async def test_a_child_that_ends_while_starting_shows_the_tail_of_its_log(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    with pytest.raises(StackError, match="child ended with status 3 while starting") as caught:
        async with running(_python(tmp_path, "print('no such key'); raise SystemExit(3)")) as child:
            await child.until(never, within_s=30)
    assert "no such key" in caught.value.report()
    assert str(tmp_path / "child.log") in caught.value.report()


async def test_a_child_that_is_never_ready_is_stopped(tmp_path: Path, gone: Callable[[int], Awaitable[None]]) -> None:
    async def never() -> bool:
        return False

    with pytest.raises(StackError, match=r"was not ready within 0\.2 s"):
        async with running(_python(tmp_path, "import time; time.sleep(600)")) as child:
            await child.until(never, within_s=0.2)
    await gone(child.pid)


async def test_a_stubborn_child_is_killed_with_its_own_children(
    tmp_path: Path, gone: Callable[[int], Awaitable[None]]
) -> None:
    note = tmp_path / "worker"

    async def started() -> bool:
        return note.exists() and note.read_text() != ""

    async with running(_python(tmp_path, STUBBORN, str(note), stop_s=0.2)) as child:
        await child.until(started, within_s=30)
        worker = int(note.read_text())
    await gone(child.pid)
    await gone(worker)


async def test_a_child_ends_with_us_even_when_we_are_killed(
    tmp_path: Path, gone: Callable[[int], Awaitable[None]]
) -> None:
    code = f"""
import asyncio, pathlib, sys
from deploy.local.processes import Program, plain_environment, running
async def main():
    place = pathlib.Path({str(tmp_path)!r})
    program = Program(name="child", argv=(sys.executable, "-c", "import time; time.sleep(600)"),
                      env=plain_environment(), log=place / "child.log", cwd=place)
    async with running(program) as child:
        print(child.pid, flush=True)
        await child.exited()
asyncio.run(main())
"""
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent:
        pid = int(await asyncio.to_thread(parent.stdout.readline))
        parent.kill()
    await gone(pid)


async def test_the_previous_log_is_kept_once(tmp_path: Path) -> None:
    await finish(_python(tmp_path, "print('first')"), within_s=30)
    await finish(_python(tmp_path, "print('second')"), within_s=30)
    assert (tmp_path / "child.log").read_text() == "second\n"
    assert (tmp_path / "child.log.old").read_text() == "first\n"


async def test_a_log_is_private(tmp_path: Path) -> None:
    await finish(_python(tmp_path, ""), within_s=30)
    assert (tmp_path / "child.log").stat().st_mode & 0o777 == 0o600


async def test_a_failed_command_is_an_error_with_its_status(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="child failed with status 4"):
        await finish(_python(tmp_path, "raise SystemExit(4)"), within_s=30)


async def test_a_command_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"did not finish within 0\.2 s"):
        await finish(_python(tmp_path, "import time; time.sleep(600)"), within_s=0.2)


async def test_a_missing_program_is_named(tmp_path: Path) -> None:
    program = Program(
        name="child", argv=("/does/not/exist",), env=plain_environment(), log=tmp_path / "log", cwd=tmp_path
    )
    with pytest.raises(StackError) as caught:
        await finish(program, within_s=30)
    assert "/does/not/exist: No such file or directory" in caught.value.report()


async def test_the_environment_is_exactly_what_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_SOMETHING", "from the person's shell")
    await finish(_python(tmp_path, "import os; print(sorted(os.environ))"), within_s=30)
    assert "GATEWAY_SOMETHING" not in (tmp_path / "child.log").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a program as somebody else")
async def test_a_program_of_another_user_has_neither_our_id_nor_our_groups(tmp_path: Path) -> None:
    from deploy.local.processes import Owner

    program = Program(
        name="id",
        argv=("/usr/bin/id",),
        env=plain_environment(),
        log=tmp_path / "id.log",
        cwd=Path("/"),
        owner=Owner(65_534, 65_534),
    )
    await finish(program, within_s=30)
    assert "uid=65534" in (tmp_path / "id.log").read_text()
    assert "(root)" not in (tmp_path / "id.log").read_text()


async def test_stopping_twice_is_harmless(tmp_path: Path) -> None:
    async with running(_python(tmp_path, "import time; time.sleep(600)")) as child:
        await child.stop()
        assert await child.exited() == -signal.SIGTERM
