"""An extension without a handler, published and installed for a test: what a stranger could put in front of a user."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from deploy.local.record import Stack
from shared.bundle_writer import write_bundle
from shared.keys import PrivateKey
from tests.system.acting import manifest, signed, visiting


class Installed(msgspec.Struct, frozen=True):
    """Where it is."""

    extension_id: str
    install_id: str
    content_hash: str


async def install(stack: Stack, folder: Path, name: str, files: Mapping[str, bytes], tenant: str = "acme") -> Installed:
    """Publish `files` as the pages of `local.{name}` and install it for one tenant.

    Args:
        stack: the running platform.
        folder: for what is in the works.
        name: unique in this session.
        files: below `ui/`; `index.html` is the page.
        tenant: who installs it.
    """
    described = manifest(name, ui={"type": "iframe", "entry": "ui/index.html"})
    tree = folder / "tree"
    for path, data in {
        "manifest.json": msgspec.json.encode(described),
        **{f"ui/{p}": d for p, d in files.items()},
    }.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(data)
    digest = write_bundle(tree, folder / "bundle.tar.zst")
    key = PrivateKey.from_pem(Path(stack.signing_key).read_text())
    async with visiting(stack, stack.tenant(tenant).admin_token) as admin:
        published = await admin.publish((folder / "bundle.tar.zst").read_bytes(), signed(described, digest, key))
        assert published.status == 200, published.body
        made = await admin.post("/api/installs", {"extension": published.json()["extension_id"]})
        assert made.status == 201, made.body
        return Installed(made.json()["extension_id"], made.json()["install_id"], digest.content_hash)
