"""The samples' components once more, as extensions that may fetch from hosts of the tests' own, or from none.

Nothing is built or compiled for them: only the manifest around the component is another. The hosts have public names, a
DNS server of the tests that knows them, and certificates of an authority that the runner was told to trust.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from deploy.local.ports import random_free
from deploy.local.record import Extension, Stack
from shared.keys import PrivateKey
from tests.runner.egress.certificates import Authority
from tests.runner.egress.names import Names
from tests.runner.egress.upstream import Answering, Upstream
from tests.system.acting import Visitor, manifest, packed, signed
from tests.system.gateways import another_gateway
from tests.system.keepers import component
from tests.system.runners import RunnerProcess, another_runner

API, OTHER = "api.example.com", "other.example.com"
FETCH = "cap:http.fetch"


class Outside(msgspec.Struct, frozen=True):
    """Where guests may be let out to: hosts of the tests and no further.

    Attributes:
        authority: whose certificates they show.
        port: of both hosts, which the operator exempted from the address table.
        dns_port: where the runner asks for names.
    """

    authority: Authority
    port: int
    dns_port: int

    @property
    def settings(self) -> dict[str, str]:
        """What a runner has to be told."""
        return {
            "EXT_EGRESS_ALLOW_PRIVATE": f"{API}:{self.port},{OTHER}:{self.port}",
            "EXT_EGRESS_DNS": f"127.0.0.1:{self.dns_port}",
            "EXT_EGRESS_CA": self.authority.pem,
        }

    def origin(self, host: str = API) -> str:
        """One of the hosts."""
        return f"https://{host}:{self.port}"

    @contextlib.asynccontextmanager
    async def upstream(self, answering: Answering | None = None) -> AsyncIterator[Upstream]:
        """The hosts, answering; both are one listener."""
        known = {API: "127.0.0.1", OTHER: "127.0.0.1", "inside.example.com": "10.0.0.5"}
        tls = self.authority.serving(API, OTHER)
        async with Names(known, port=self.dns_port), Upstream(answering, tls, self.port) as upstream:
            yield upstream


class Place(Outside, frozen=True):
    """A gateway, by its address, and a runner that let guests out there."""

    base: str
    runner: RunnerProcess


class Fetcher(msgspec.Struct, frozen=True):
    """An install whose guest sends the requests it is asked to send."""

    visitor: Visitor
    place: Place
    extension: Extension

    async def fetch(self, url: str, **init: Any) -> Any:
        """What the guest was answered: `{status, headers, body}` or `{error}`."""
        body = msgspec.json.encode({"url": url, **init})
        answer = await self.visitor.call(
            "POST",
            f"/api/ext/{self.extension.install_id}/fetch",
            data=body,
            headers={"content-type": "application/json"},
            base=self.place.base,
        )
        assert answer.status == 200, answer.body
        return {**answer.json(), "request_id": answer.headers["x-request-id"]}


@contextlib.asynccontextmanager
async def let_out(stack: Stack, folder: Path, **changes: str) -> AsyncIterator[Place]:
    """Both services once more, with a way out."""
    outside = somewhere(folder)
    async with (
        another_runner(stack, folder, **{**outside.settings, **changes}) as runner,
        another_gateway(stack, RUNNER_BASE_URL=runner.url) as gateway,
    ):
        yield Place(outside.authority, outside.port, outside.dns_port, gateway.url, runner)


def somewhere(folder: Path) -> Outside:
    """Free ports, and an authority that keeps its files in `folder`."""
    return Outside(Authority(folder), random_free(), _free_datagram_port())


async def fetcher(
    admin: Visitor, place: Place, sample: str, folder: Path, *, granted: bool = True, kind: str = ""
) -> Fetcher:
    """The guest of `sample`, installed for the visitor's tenant with both the capability and its host, or neither.

    Args:
        kind: of the extension, for those who count what only theirs does.
    """
    kind = kind or ("fetcher" if granted else "confined")
    name = f"tests.{kind}-{sample.removeprefix('hello-')}"
    hosts = [place.origin(), "https://inside.example.com"]
    described = manifest(
        name,
        capabilities=[FETCH],
        permissions={"egress": hosts, "secrets": [{"name": "api_key", "hosts": [place.origin()]}]},
    )
    data, digest = packed(folder, described, await component(sample))
    key = PrivateKey.from_pem(Path(admin.stack.signing_key).read_text())
    published = await admin.publish(data, signed(described, digest, key))
    assert published.status == 200, published.body
    assert published.json()["state"] == "ready", published.body
    grants = {"capabilities": [FETCH], "egress": hosts, "secrets": ["api_key"]} if granted else {}
    installed = await admin.post("/api/installs", {"extension": name, "grants": grants})
    assert installed.status == 201, installed.body
    extension = Extension(
        id=published.json()["extension_id"],
        name=f"local.{name}",
        version="1.0.0",
        content_hash=str(digest.content_hash),
        install_id=installed.json()["install_id"],
        tenant_id="acme",
    )
    return Fetcher(admin, place, extension)


def _free_datagram_port() -> int:
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
