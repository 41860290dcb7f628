"""The samples' components once more, as extensions that were granted storage, or nothing at all.

Nothing is built or compiled for them: only the manifest around the component is another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec

from deploy.local import samples
from deploy.local.progress import Progress
from deploy.local.record import Extension
from shared.bundle_reader import read_bundle
from shared.digest import sha256_hex
from shared.keys import PrivateKey
from tests.system.acting import Answer, Visitor, manifest, packed, signed

COMPONENT = "dist/main.wasm"
NAMESPACE = "notes"


class Keeper(msgspec.Struct, frozen=True):
    """An extension whose guest keeps what it is told to."""

    visitor: Visitor
    install_id: str

    async def entry(self, method: str, namespace: str, key: str, body: bytes | None = None, **more: Any) -> Answer:
        """One record, by way of the guest."""
        query = urlencode({"namespace": namespace, "key": key, **more})
        return await self.visitor.call(method, f"/api/ext/{self.install_id}/entry?{query}", data=body)

    async def put(self, key: str, body: bytes, **more: Any) -> Answer:
        return await self.entry("PUT", NAMESPACE, key, body, **more)

    async def get(self, key: str) -> Answer:
        return await self.entry("GET", NAMESPACE, key)

    async def delete(self, key: str) -> Answer:
        return await self.entry("DELETE", NAMESPACE, key)

    async def entries(self, namespace: str = NAMESPACE, **more: Any) -> Any:
        """What the guest lists: key, revision and size of each."""
        query = urlencode({"namespace": namespace, **more})
        answer = await self.visitor.get(f"/api/ext/{self.install_id}/entries?{query}")
        assert answer.status == 200, answer.body
        return answer.json()

    def records(self, namespace: str = NAMESPACE) -> str:
        """Where the same records are over REST."""
        return f"/api/ext-storage/install/{self.install_id}/{namespace}/records"


async def keeper(admin: Visitor, sample: str, directory: Path, *, granted: bool = True) -> tuple[Keeper, Extension]:
    """An extension with the guest of `sample`, installed for the visitor's tenant with storage granted, or nothing."""
    name, guest = f"tests.{'keeper' if granted else 'bare'}-{sample.removeprefix('hello-')}", await component(sample)
    version = f"1.0.0-c{sha256_hex(guest)[:8]}"  # a sample may be built anew while the stack runs
    described = manifest(name, version, capabilities=["cap:storage.kv"])
    data, digest = packed(directory, described, guest)
    key = PrivateKey.from_pem(Path(admin.stack.signing_key).read_text())
    published = await admin.publish(data, signed(described, digest, key))
    assert published.status == 200, published.body
    assert published.json()["state"] == "ready", published.body
    grants = {"capabilities": ["cap:storage.kv"] if granted else []}
    installed = await admin.post("/api/installs", {"extension": name, "version": version, "grants": grants})
    assert installed.status in (201, 409), installed.body  # another test may have installed it
    install_id = str(installed.json()["install_id"])
    extension = Extension(
        id=published.json()["extension_id"],
        name=f"local.{name}",
        version=version,
        content_hash=str(digest.content_hash),
        install_id=install_id,
        tenant_id="acme",
    )
    return Keeper(admin, install_id), extension


async def component(sample: str) -> bytes:
    """What the stack built for a sample, or builds now."""
    (made,) = await samples.build((sample,), Progress())
    with made.bundle.open("rb") as archive:
        (member,) = read_bundle(archive, lambda name: name == COMPONENT)
    return member.data
