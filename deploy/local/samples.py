"""The sample extensions: built while the servers start, and kept under `.local/build/` by the digest of their sources.

A second start, another stack or the system tests take the kept bundle; only what changed is built again, at most
two at a time.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from deploy.local.build import WIT, digest_file
from deploy.local.failures import StackError
from deploy.local.locks import exclusive
from deploy.local.processes import Program, finish, plain_environment
from deploy.local.progress import Progress
from gateway.cli.build import source_digest
from gateway.cli.toolchains import BuildError
from shared.bundle_writer import BundleDigest
from shared.limits import BUILD_MAX_S
from shared.manifest import Manifest, parse_manifest

ROOT: Final = Path(__file__).resolve().parents[2]
EXAMPLES: Final = ROOT / "tests" / "examples"
CACHE: Final = ROOT / ".local" / "build"
SAMPLES: Final = ("hello-quickjs", "hello-starling", "hello-python")
AT_ONCE: Final = 2  # a toolchain keeps a core busy and takes up to 1 GiB
PACK_MAX_S: Final = 60  # on top of the toolchain's own time
DIGEST_CHARS: Final = 16  # 64 bits tell the builds of one project apart


class Packed(msgspec.Struct, frozen=True):
    """A sample that is ready to be published.

    Attributes:
        name: the project's folder.
        bundle: the archive.
        digest: what is in it.
        manifest: as the bundle has it.
    """

    name: str
    bundle: Path
    digest: BundleDigest
    manifest: Manifest


def choose(text: str) -> tuple[str, ...]:
    """The samples that `--samples` names: a comma-separated list, `all` or `none`. Raises `StackError`."""
    if text in ("all", "none"):
        return SAMPLES if text == "all" else ()
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if "/" in name or not (EXAMPLES / name / "manifest.json").is_file():
            raise StackError(
                f"there is no sample called {name!r}",
                next_step=f"--samples takes all, none, or some of {', '.join(SAMPLES)} separated by commas",
            )
    return names


async def build(names: Sequence[str], progress: Progress) -> list[Packed]:
    """The bundles of `names`, in that order; what is not kept from an earlier build is built.

    Raises:
        StackError: a sample cannot be built; carries the toolchain's own words. Comes in an `ExceptionGroup`.
    """
    slots = asyncio.Semaphore(AT_ONCE)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_one(name, slots, progress), name=f"build {name}") for name in names]
    return [task.result() for task in tasks]


async def _one(name: str, slots: asyncio.Semaphore, progress: Progress) -> Packed:
    project = EXAMPLES / name
    try:
        sources = await asyncio.to_thread(source_digest, project, WIT)
    except BuildError as error:
        raise StackError(error.what, next_step=error.next_step) from error
    CACHE.mkdir(parents=True, exist_ok=True)
    bundle = CACHE / f"{name}-{sources[:DIGEST_CHARS]}.tar.zst"
    async with slots, exclusive(CACHE / f"{name}.lock"):
        if not bundle.exists():
            progress.begun(f"building {name} (once; kept in {CACHE.relative_to(ROOT)})")
            await _build(name, project, bundle)
            progress.done(f"built {name}")
    return Packed(
        name=name,
        bundle=bundle,
        digest=msgspec.json.decode(digest_file(bundle).read_bytes(), type=BundleDigest),
        manifest=parse_manifest((project / "manifest.json").read_bytes()),
    )


async def _build(name: str, project: Path, bundle: Path) -> None:
    for outdated in (*CACHE.glob(f"{name}-*.tar.zst"), *CACHE.glob(f"{name}-*.tar.zst.json")):
        outdated.unlink()
    program = Program(
        name=f"build of {name}",
        argv=(sys.executable, "-m", "deploy.local.build", str(project), str(bundle)),
        env=plain_environment(),
        log=CACHE / f"{name}.log",
        cwd=ROOT,
        stop_with=signal.SIGINT,  # the build ends its toolchain before it ends itself
        orphan_with=signal.SIGINT,
    )
    await finish(program, within_s=BUILD_MAX_S + PACK_MAX_S)
