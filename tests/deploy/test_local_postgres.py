"""The embedded PostgreSQL: starts, keeps, forgets, and leaves no process."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import psycopg
import pytest

from deploy.local.failures import StackError
from deploy.local.postgres import Postgres, forget, postgres

ROOT = Path(__file__).resolve().parents[2]


async def _value(pg: Postgres, statement: str) -> str:
    async with await psycopg.AsyncConnection.connect(pg.url, autocommit=True) as connection:
        cursor = await connection.execute(statement.encode())
        row = await cursor.fetchone() if cursor.description else None
        return str(row[0]) if row else ""


async def test_data_is_kept_over_a_restart_and_forgotten_on_request(
    tmp_path: Path, gone: Callable[[int], Awaitable[None]]
) -> None:
    place = tmp_path / "pg"
    async with postgres(place) as pg:
        await _value(pg, "create table kept (word text)")
        await _value(pg, "insert into kept values ('here')")
    await gone(pg.pid)
    async with postgres(place, keep=False) as again:
        assert again.password == pg.password
        assert await _value(again, "select word from kept") == "here"
        data = Path(await _value(again, "show data_directory"))
        assert data.exists()
    await gone(again.pid)
    assert not data.exists()
    assert not place.exists()


async def test_the_server_is_only_on_loopback_wants_a_password_and_waits_for_its_log(tmp_path: Path) -> None:
    async with postgres(tmp_path / "pg", keep=False) as pg:
        assert await _value(pg, "show listen_addresses") == "127.0.0.1"
        assert await _value(pg, "show unix_socket_directories") == ""
        assert await _value(pg, "show synchronous_commit") == "on"
        assert await _value(pg, "show server_encoding") == "UTF8"
        with pytest.raises(psycopg.OperationalError, match="password"):
            await psycopg.AsyncConnection.connect(pg.address("postgres", password="wrong"))


async def test_the_server_listens_where_it_was_told(tmp_path: Path) -> None:
    from deploy.local.ports import random_free

    port = random_free()
    async with postgres(tmp_path / "pg", port, keep=False) as pg:
        assert pg.port == port
        assert await _value(pg, "show port") == str(port)


async def test_an_interrupted_initialisation_is_done_again(tmp_path: Path) -> None:
    place = tmp_path / "pg"
    async with postgres(place):
        pass
    (place / "password").unlink()
    async with postgres(place, keep=False) as pg:
        assert await _value(pg, "select 1") == "1"


async def test_a_taken_port_is_an_error_with_the_servers_own_words(tmp_path: Path) -> None:
    async with postgres(tmp_path / "one", keep=False) as pg:
        with pytest.raises(StackError, match="PostgreSQL ended with status 1") as caught:
            async with postgres(tmp_path / "two", pg.port, keep=False):
                raise AssertionError("two servers on one port")
        assert "Address already in use" in caught.value.report()


async def test_no_process_is_left_when_the_stack_is_killed(
    tmp_path: Path, gone: Callable[[int], Awaitable[None]]
) -> None:
    code = f"""
import asyncio, pathlib
from deploy.local.postgres import postgres
async def main():
    async with postgres(pathlib.Path({str(tmp_path / "pg")!r})) as pg:
        print(pg.pid, flush=True)
        await pg.child.exited()
asyncio.run(main())
"""
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent:
        pid = int(await asyncio.to_thread(parent.stdout.readline))
        helpers = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        assert helpers
        parent.kill()
    for process in (pid, *helpers):
        await gone(process)
    async with postgres(tmp_path / "pg", keep=False) as pg:
        assert await _value(pg, "select 1") == "1"


@pytest.mark.skipif(os.geteuid() != 0, reason="without root the data stays in the directory itself")
async def test_as_root_the_server_runs_as_somebody_else_in_a_place_of_its_own(tmp_path: Path) -> None:
    place = tmp_path / "pg"
    async with postgres(place, keep=False) as pg:
        assert Path(f"/proc/{pg.pid}").stat().st_uid != 0
        elsewhere = Path((place / "location").read_text().strip())
        assert elsewhere.parent == Path("/var/tmp")
        assert elsewhere.name.startswith("alga-local-")
        assert elsewhere.stat().st_mode & 0o777 == 0o700
    assert not elsewhere.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="without root the data stays in the directory itself")
async def test_the_place_of_a_killed_test_run_is_swept_and_a_living_ones_stays(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead, living = Path("/var/tmp/alga-local-swept-dead"), Path("/var/tmp/alga-local-swept-living")
    try:
        for place, pid in ((dead, ended.pid), (living, os.getpid())):
            place.mkdir()
            (place / "disposable").write_text(f"{pid}\n")
        async with postgres(tmp_path / "pg", keep=False):
            assert not dead.exists()
            assert living.exists()
    finally:
        for place in (dead, living):
            shutil.rmtree(place, ignore_errors=True)


def test_a_note_that_names_a_foreign_place_removes_nothing(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (tmp_path / "pg").mkdir()
    (tmp_path / "pg" / "location").write_text(f"{foreign}\n")
    with pytest.raises(StackError, match="which is not this directory's"):
        forget(tmp_path / "pg")
    assert foreign.exists()
