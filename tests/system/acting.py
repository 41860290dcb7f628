"""A user of the running platform: calls the gateway, builds bundles, signs and publishes them, as anyone could."""

from __future__ import annotations

import contextlib
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from deploy.local.record import Stack
from shared.bundle_writer import BundleDigest, write_bundle
from shared.keys import PrivateKey
from shared.signing import BundleStatement, encode_envelope, sign_statement

CALL_MAX_S = 100.0  # publishing waits for a compilation


class Answer(msgspec.Struct, frozen=True):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        """The error code of a refusal."""
        return str(self.json()["code"])


class Visitor:
    """Somebody with one credential, or none."""

    def __init__(self, session: aiohttp.ClientSession, stack: Stack, token: str | None) -> None:
        self._session, self.stack, self._token = session, stack, token

    def with_token(self, token: str | None) -> Visitor:
        """The same connection, somebody else."""
        return Visitor(self._session, self.stack, token)

    async def call(
        self,
        method: str,
        path: str,
        *,
        data: Any = None,
        headers: dict[str, str] | None = None,
        base: str | None = None,
    ) -> Answer:
        """One request; the path goes out byte for byte."""
        sent = dict(headers or {})
        if self._token is not None:
            sent.setdefault("authorization", f"Bearer {self._token}")
        if isinstance(data, bytes):
            data = io.BytesIO(data)  # aiohttp warns about large bodies given as bytes
        url = URL((base or self.stack.gateway_url) + path, encoded=True)
        async with self._session.request(method, url, data=data, headers=sent, allow_redirects=False) as answer:
            found = {name.lower(): value for name, value in answer.headers.items()}
            return Answer(answer.status, found, await answer.read())

    async def get(self, path: str, **more: Any) -> Answer:
        """`GET path`."""
        return await self.call("GET", path, **more)

    async def post(self, path: str, body: Any, **more: Any) -> Answer:
        """`POST path` with a JSON body."""
        data = msgspec.json.encode(body)
        return await self.call("POST", path, data=data, headers={"content-type": "application/json"}, **more)

    async def upload(self, data: bytes) -> Answer:
        """Stage an archive."""
        return await self.call("POST", "/api/registry/bundles", data=data)

    async def publish(self, data: bytes, signature: Any, **more: Any) -> Answer:
        """Upload and finalize; the answer of whichever refused, or of the second."""
        staged = await self.upload(data)
        if staged.status != 201:
            return staged
        body = {"signature": signature, "allow_unused_imports": True, **more}
        return await self.post(f"/api/registry/bundles/{staged.json()['upload_id']}/finalize", body)


@contextlib.asynccontextmanager
async def visiting(stack: Stack, token: str | None) -> AsyncIterator[Visitor]:
    """A visitor with a connection of its own."""
    timeout = aiohttp.ClientTimeout(total=CALL_MAX_S)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
        yield Visitor(session, stack, token)


def manifest(name: str, version: str = "1.0.0", **more: Any) -> dict[str, Any]:
    """A small valid manifest."""
    return {"name": name, "publisher": "local", "version": version, "runtime": "wasm-component@1", **more}


def packed(
    directory: Path, described: dict[str, Any], component: bytes | None, *, known: frozenset[str] | None = None
) -> tuple[bytes, BundleDigest]:
    """A bundle with one manifest, perhaps a component, and a page; `known` are capabilities it may ask for."""
    tree = directory / described["name"]
    (tree / "ui").mkdir(parents=True, exist_ok=True)
    (tree / "manifest.json").write_bytes(msgspec.json.encode(described))
    (tree / "ui" / "index.html").write_text("<!doctype html><title>t</title>")
    if component is not None:
        (tree / "dist").mkdir(exist_ok=True)
        (tree / "dist" / "main.wasm").write_bytes(component)
    out = directory / f"{described['name']}.tar.zst"
    digest = write_bundle(tree, out, known=known)
    return out.read_bytes(), digest


def signed(described: dict[str, Any], digest: BundleDigest, key: PrivateKey, **changes: Any) -> Any:
    """A DSSE envelope for a bundle; `changes` make its statement wrong."""
    statement = BundleStatement(
        **{
            "content_hash": digest.content_hash,
            "name": described["name"],
            "publisher": described["publisher"],
            "version": described["version"],
            "manifest_sha256": digest.manifest_sha256,
            "component_sha256": digest.component_sha256,
            "issued_at": datetime.now(UTC),
            **changes,
        }
    )
    return msgspec.json.decode(encode_envelope(sign_statement(statement, key)))
