"""`alga-ext dev`: watch a project, and have what stands in the editor run on a local stack."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from gateway.cli import key_files
from gateway.cli.access import AS_TEXT, Output, Target
from gateway.cli.credentials import configuration
from gateway.cli.development import children
from gateway.cli.development.changes import changes
from gateway.cli.development.page import Page, serving
from gateway.cli.development.rounds import Rounds, Told
from gateway.cli.failures import CliError, Exit
from gateway.cli.following import Follower, Wanted
from gateway.cli.installs import Install
from gateway.cli.project import Project, open_project
from gateway.cli.rest import Gateway, connected
from gateway.cli.stack import Stack, find_stack, read_stack
from gateway.cli.terminal import Terminal
from gateway.cli.verbs.logs import follow_for_ever
from shared.keys import PrivateKey
from shared.limits import TRUST_POLL_S

Off = Annotated[bool, Parameter(negative="")]

_KEY: Final = "development.pem"


def dev(
    directory: Path = Path(),
    /,
    *,
    port: int = 0,
    no_page: Off = False,
    no_logs: Off = False,
    stack: Path | None = None,
    output: Output = AS_TEXT,
) -> Exit:
    """Watch the project: each change is built, published as a development version and running, seconds later.

    A local stack that runs is used, else one is started in the project's .local and ended with this command. The page
    it prints shows the extension in a frame that is opened anew after each change. Ctrl-C ends everything it started.

    Args:
        directory: the project's folder.
        port: of the page, on this machine only; by default a free one.
        no_page: serve no page.
        no_logs: do not show what the extension says.
        stack: the local stack's stack.json; also ALGA_STACK.
    """
    terminal = output.terminal()
    project = open_project(directory)
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(_until_stopped(_dev(project, stack, terminal, port=port, page=not no_page, logs=not no_logs)))
    terminal.note("ended")
    return Exit.OK


async def _until_stopped(watching: Coroutine[None, None, None]) -> None:
    """Run `watching` until a signal asks for its end; further ones do not disturb what is being ended.

    Handlers of our own, since a shell may start a program with SIGINT ignored, and its children would inherit that.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, lambda: None if task.cancelling() else task.cancel())
    await watching


async def _dev(project: Project, given: Path | None, terminal: Terminal, *, port: int, page: bool, logs: bool) -> None:
    async with contextlib.AsyncExitStack() as held:
        found = find_stack(given, os.environ, project.folder)
        if found is None:
            found = read_stack(await held.enter_async_context(children.local_stack(project.folder, terminal)))
        scratch = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="alga-ext-dev-")))
        key = await _trusted_key(found, project.manifest.publisher, terminal)
        gateway = await held.enter_async_context(connected(Target(found.gateway_url, found.api_key(), found)))
        terminal.note(f"using the local stack at {found.gateway_url}, watching {project.folder}; Ctrl-C ends it")
        told = Told(terminal)
        first: asyncio.Future[Install] = asyncio.get_running_loop().create_future()
        told.installed = lambda install: None if first.done() else first.set_result(install)
        if page and project.manifest.ui is not None:
            shown = Page(gateway, project.manifest.name)
            await held.enter_async_context(serving(shown, port))
            told.page, told.reload = shown.tell, shown.reload
        else:
            shown = None
        rounds = Rounds(project.folder, gateway, key, scratch, told)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(rounds.hear(changes(project.folder)), name="watch")
                tasks.create_task(rounds.run(), name="rounds")
                if shown is not None:
                    tasks.create_task(_show(shown, project.folder, first, terminal), name="page")
                if logs:
                    tasks.create_task(_follow(gateway, first, terminal), name="logs")
        except* CliError as group:
            raise _first(group) from group


def _first(group: BaseExceptionGroup[CliError]) -> CliError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


async def _show(page: Page, folder: Path, first: asyncio.Future[Install], terminal: Terminal) -> None:
    """Serve the pages of the extension from its folder, once it is installed."""
    terminal.line({"event": "page", "url": page.url})
    terminal.say(f"page: {page.url}", "bold")
    install = await asyncio.shield(first)
    async with children.preview(folder, install.extension_id, page.origin) as assets:
        page.shows(install.extension_id, install.install_id, assets)
        page.reload()
        await asyncio.Event().wait()


async def _follow(gateway: Gateway, first: asyncio.Future[Install], terminal: Terminal) -> None:
    install = await asyncio.shield(first)
    await follow_for_ever(Follower(gateway, Wanted(install_id=install.install_id)), terminal)


async def _trusted_key(stack: Stack, publisher: str, terminal: Terminal) -> PrivateKey:
    """The development key of this user, for nothing but local stacks; made and trusted when it is not."""
    path = configuration(os.environ) / _KEY
    try:
        key = await asyncio.to_thread(key_files.write_new, path)
    except FileExistsError:
        key = key_files.load(path)
    if key_files.trust_key(Path(stack.trust_bundle), key.public, (publisher,)):
        with terminal.working(f"the local stack learns to trust the development key for {publisher}"):
            await asyncio.sleep(2 * TRUST_POLL_S)  # each service reads its trust bundle once in this time
    return key
