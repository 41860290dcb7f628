"""Builds one sample into a bundle, as a process of its own: `python -m deploy.local.build PROJECT BUNDLE`.

A toolchain takes seconds to half a minute of one core, so it runs beside the stack's start and not inside it. An
interrupt (which the kernel also sends when the stack is killed) ends the toolchain with all it started. Beside
`BUNDLE` stands `BUNDLE.json` with the digests, so that a kept bundle need not be read again.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from gateway.cli.build import build_guest
from gateway.cli.toolchains import BuildError
from shared.bundle_writer import write_bundle
from shared.errors import PlatformError

WIT: Final = Path(__file__).resolve().parents[2] / "shared" / "wit"


def digest_file(bundle: Path) -> Path:
    """Where the digests of `bundle` stand."""
    return bundle.with_name(f"{bundle.name}.json")


def build(project: Path, bundle: Path) -> None:
    """Build the guest of `project`, pack it and put the archive at `bundle`, complete or not at all.

    Raises:
        BuildError: the project or its toolchain is at fault.
        ManifestInvalid, BundleInvalid, BundleLimits: what was built cannot be packed.
    """
    with tempfile.TemporaryDirectory(prefix=".tree-", dir=bundle.parent) as scratch:
        tree, packed = Path(scratch) / "tree", Path(scratch) / bundle.name
        build_guest(project, tree, wit=WIT, log=print)
        digest = write_bundle(tree, packed)
        digest_file(packed).write_bytes(msgspec.json.encode(digest))
        digest_file(packed).replace(digest_file(bundle))
        packed.replace(bundle)  # last: where there is a bundle, there is its digest


def main(arguments: list[str]) -> int:
    """0 when the bundle was written, else 1 with the reason on standard error."""
    project, bundle = (Path(argument) for argument in arguments)
    try:
        build(project, bundle)
    except (BuildError, PlatformError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
