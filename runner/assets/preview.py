"""An author's pages from their own folder, as they will be served: `python -m runner.assets.preview FOLDER ID ANCESTOR`.

The same application, policy and headers as the public listener's; only where the files come from is another: they are
read when an address with a new digest is asked for first, so whoever wants them fresh names a digest nobody named before.
Listens on loopback, writes its port as the first line of standard output, ends with its parent.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from runner.assets.app import AssetApp
from runner.assets.index import MANIFEST, ROOT, Pack, build_unsigned
from runner.assets.live import NOT_LIVE
from runner.assets.policy import UiPolicy
from runner.bundles.scratch import Scratch
from runner.listener import listen, make_config, stopping
from runner.sandbox.hardening import die_with
from shared.deadline import Deadline
from shared.errors import BundleLimits, BundleUnavailable, NotFound
from shared.ids import ContentHash, ExtensionId
from shared.limits import BUNDLE_FILE_MAX_BYTES, BUNDLE_MAX_FILES

_GRACE_S: Final = 1.0  # answers under way at the end: the reader sits at this machine


class OnlyOne:
    """Which UI is served: that of one extension, whatever its digest."""

    def __init__(self, extension: str) -> None:
        self._extension = extension

    async def check(self, extension: ExtensionId, content_hash: ContentHash) -> None:  # noqa: ARG002 - of the protocol
        """Return when it is that one. Raises `NotFound`."""
        if extension != self._extension:
            raise NotFound(NOT_LIVE)


class FromFolder:
    """The pages as they stand in a folder. The newest digest is kept, and nothing of an older one.

    Args:
        folder: with `manifest.json` and `ui/`.
        policy: what the operator would decide.
    """

    def __init__(self, folder: Path, policy: UiPolicy) -> None:
        self._folder = folder
        self._policy = policy
        self._lock = asyncio.Lock()
        self._held: tuple[ContentHash, Pack] | None = None

    async def get(self, content_hash: ContentHash, deadline: Deadline) -> Pack:
        """The UI under this digest. Raises `NotFound`, `BundleUntrusted`, `BundleUnavailable`, `BundleLimits`."""
        async with asyncio.timeout(deadline.remaining_s()), self._lock:
            if self._held is None or self._held[0] != content_hash:
                self._held = content_hash, await asyncio.to_thread(self._build)
            return self._held[1]

    def _build(self) -> Pack:
        with Scratch(Path(tempfile.gettempdir())) as scratch:
            try:
                manifest = (self._folder / MANIFEST).read_bytes()
                return build_unsigned(manifest, _files(self._folder), self._policy, scratch)
            except OSError as error:  # an editor is replacing it at this moment
                raise BundleUnavailable(f"a file cannot be read: {error.strerror}", retry_after_s=1) from error


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The regular files below `ui/`; a link is none, as in a bundle. Raises `BundleLimits`."""
    count = 0
    for path in sorted((folder / ROOT).rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        count += 1
        if count > BUNDLE_MAX_FILES or path.stat().st_size > BUNDLE_FILE_MAX_BYTES:
            raise BundleLimits("more or larger files than a bundle may have")
        yield path.relative_to(folder).as_posix(), path.read_bytes()


async def serve(folder: Path, extension: str, ancestor: str) -> None:
    """Serve until a signal asks for the end."""
    listening = socket.create_server(("127.0.0.1", 0))
    application = AssetApp(OnlyOne(extension), FromFolder(folder, UiPolicy(frame_ancestors=ancestor)))
    async with stopping() as stop:
        print(listening.getsockname()[1], flush=True)
        await listen(application, make_config(f"fd://{listening.detach()}", graceful_s=_GRACE_S), stop)


def main(arguments: list[str]) -> int:
    """The exit status."""
    try:
        folder, extension, ancestor = arguments
    except ValueError:
        print("python -m runner.assets.preview FOLDER EXTENSION-ID FRAME-ANCESTOR", file=sys.stderr)
        return 2
    die_with(os.getppid(), signal.SIGTERM)
    asyncio.run(serve(Path(folder), extension, ancestor))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
