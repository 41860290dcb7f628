"""The loop of `dev`: what changes makes a round, a round makes a version, and every page that is open hears of it.

A newer change of the code ends a build that is under way; what comes after the build is seconds and runs to its end. An
error is shown, in the terminal and on the page, and the watch goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec

from gateway.cli.development import children, version
from gateway.cli.development.changes import Kind
from gateway.cli.failures import CliError, from_build
from gateway.cli.installs import Install
from gateway.cli.project import open_project
from gateway.cli.rest import Gateway
from gateway.cli.terminal import Terminal
from gateway.cli.toolchains import BuildError
from shared.keys import PrivateKey


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one round; `dev --json` prints each as a line.

    Attributes:
        ok: whether the version runs.
        error: what was wrong, in the form of every other verb.
        build_s, pack_s, publish_s, install_s: where the time went.
    """

    event: str = "round"
    ok: bool
    version: str = ""
    version_id: str = ""
    install_id: str = ""
    built: bool = False
    build_s: float = 0.0
    pack_s: float = 0.0
    publish_s: float = 0.0
    install_s: float = 0.0
    error: dict[str, Any] | None = None

    @property
    def total_s(self) -> float:
        """From the change to the answer."""
        return self.build_s + self.pack_s + self.publish_s + self.install_s


class Told:
    """Who hears of what happens: the terminal, and the pages once there are some.

    Attributes:
        page: told how things stand.
        reload: has the frame opened anew.
        installed: called with each install, the first one included.
    """

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.page: Callable[[str, str], None] = _nobody
        self.reload: Callable[[], None] = lambda: None
        self.installed: Callable[[Install], None] = lambda _install: None


class Rounds:
    """See the module.

    Args:
        folder: the project's.
        gateway: of a local stack.
        key: the development key, which the stack trusts.
        scratch: for archives.
        told: who hears of it.
    """

    def __init__(self, folder: Path, gateway: Gateway, key: PrivateKey, scratch: Path, told: Told) -> None:
        self._folder, self._gateway, self._key, self._scratch, self._told = folder, gateway, key, scratch, told
        self._pending = Kind.CODE
        self._changed = asyncio.Event()
        self._changed.set()
        self._building: asyncio.Task[dict[str, Any]] | None = None

    async def hear(self, found: AsyncIterator[Kind]) -> None:
        """Take note of changes, for ever."""
        async for kind in found:
            if Kind.PAGES in kind:
                self._told.reload()  # from the folder itself; the version follows
            self._pending |= kind
            self._changed.set()
            if Kind.CODE in kind and self._building is not None:
                self._building.cancel()

    async def run(self) -> None:
        """A round for whatever changed, one after the other, for ever. The first one needs no change."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            kind, self._pending = self._pending, Kind.NOTHING
            done = await self._round(kind)
            if done is None:
                self._pending |= kind  # given up for a newer change, which stands for both
                continue
            self._tell(done, kind)

    async def _round(self, kind: Kind) -> Round | None:
        """One round; `None` when a newer change ended its build."""
        self._told.page("building…" if Kind.CODE in kind else "publishing…", "")
        at = [time.monotonic()]
        built: dict[str, Any] = {}
        try:
            if Kind.CODE in kind:
                given = await self._build()
                if given is None:
                    return None
                built = given
            at.append(time.monotonic())
            project = await asyncio.to_thread(open_project, self._folder)
            packed = await version.packed_in_thread(project, self._key, self._scratch)
            at.append(time.monotonic())
            published = await version.publish(self._gateway, packed)
            at.append(time.monotonic())
            install = await version.put_in_place(self._gateway, published, self._told.terminal)
            at.append(time.monotonic())
        except BuildError as error:
            return Round(ok=False, error=from_build(error).document())
        except CliError as error:
            return Round(ok=False, error={**error.document(), "details": list(error.details)})
        self._told.installed(install)
        took = [round(after - before, 3) for before, after in itertools.pairwise(at)]
        return Round(
            ok=True,
            version=packed.version,
            version_id=published.version_id,
            install_id=install.install_id,
            built=bool(built) and not built.get("up_to_date", False),
            build_s=took[0],
            pack_s=took[1],
            publish_s=took[2],
            install_s=took[3],
        )

    async def _build(self) -> dict[str, Any] | None:
        """What the build said; `None` when it was ended for a newer change."""
        self._building = asyncio.create_task(children.build(self._folder), name="build")
        try:
            await asyncio.wait({self._building})
            return None if self._building.cancelled() else self._building.result()
        finally:
            self._building.cancel()
            with contextlib.suppress(asyncio.CancelledError, CliError):
                await self._building
            self._building = None

    def _tell(self, done: Round, kind: Kind) -> None:
        terminal = self._told.terminal
        terminal.line(done)
        if done.error is not None:
            said = str(done.error.get("detail", ""))
            details = done.error.get("details") or str(done.error.get("output", "")).splitlines()
            terminal.note(f"error: {said}", "bold red")
            for line in details:
                terminal.note(f"  {line}", "")
            terminal.note(f"next: {done.error.get('next', '')}; the watch goes on", "cyan")
            self._told.page("not in order; the version before goes on", "\n".join((said, *map(str, details))))
            return
        parts = (
            ("build", done.build_s if Kind.CODE in kind else 0.0),
            ("pack", done.pack_s),
            ("publish", done.publish_s),
            ("upgrade", done.install_s),
        )
        shown = ", ".join(f"{name} {took:.1f}" for name, took in parts if took >= 0.05)
        terminal.say(f"{done.version} answers after {done.total_s:.1f} s ({shown})", "green")
        self._told.page(f"{done.version} answers", "")
        if Kind.CODE in kind:
            self._told.reload()


def _nobody(_state: str, _problem: str) -> None:
    """No page is open."""
