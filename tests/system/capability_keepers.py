"""Extensions that call every function there is, in each language, and a platform where every call has somebody to ask.

Each is published twice, under a name for the install that is granted everything and one for the install that is denied
everything: what a tenant decides is of one extension always the same, since workers learn of a change each by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import msgspec

from deploy.local.record import Extension, Stack
from gateway.cli.project import open_project
from gateway.cli.world import write_world
from shared.capabilities import ALWAYS, DEFAULTS, KNOWN
from shared.keys import PrivateKey
from shared.provider_files import shipped
from tests.built import component as built
from tests.runner.egress.upstream import Upstream
from tests.system.acting import Answer, Visitor, manifest, packed, signed, visiting
from tests.system.fetchers import Outside, somewhere
from tests.system.provider_keepers import (
    DENIED,
    EXAMPLES,
    GRANTED,
    SOURCES,
    Platform,
    platform_with_host_application,
)
from tests.system.watching import Stream, watching

HERE: Final = Path(__file__).parent
ENGINES: Final = tuple(SOURCES)
KINDS: Final = (GRANTED, DENIED)
ASKED: Final = sorted({*KNOWN - {*DEFAULTS}, *shipped().capabilities})
SECRET, SECRET_VALUE = "api_key", "a-value-of-the-tests"
CONFIG: Final = {"region": "emea", "size": "7"}
SETTLED_MAX_S = 20.0  # gateways keep what they read for some seconds; a first call loads native code
_numbers = itertools.count(1)


class Scene(msgspec.Struct, frozen=True):
    """Who may be asked: the platform with its host application, and the hosts out there."""

    platform: Platform
    outside: Outside
    upstream: Upstream


class Told(msgspec.Struct, frozen=True):
    """What became of one call, and what the author of the extension reads of it."""

    answer: Answer
    events: list[Any]

    @property
    def value(self) -> Any:
        """`{"value": …}` or `{"error": …}`; the platform's own answer when the guest gave none."""
        return self.answer.json()

    def said(self, stream: str) -> list[str]:
        """The messages of one stream."""
        return [event["message"] for event in self.events if event["stream"] == stream]


class Guest(msgspec.Struct, frozen=True):
    """One install, and its debug stream."""

    visitor: Visitor
    scene: Scene
    engine: str
    extension: Extension
    stream: Stream

    @property
    def topic(self) -> str:
        """What its topics begin with."""
        return self.extension.name

    async def call(self, function: str, given: dict[str, Any]) -> Told:
        """Have the guest call `INTERFACE/FUNCTION` with these arguments, and wait for all that is told of it."""
        request_id = f"capability-{self.extension.name}-{next(_numbers)}"
        answer = await self.visitor.call(
            "POST",
            f"/api/ext/{self.extension.install_id}/call/{function}",
            data=msgspec.json.encode(given),
            headers={"content-type": "application/json", "x-request-id": request_id},
        )
        await self.stream.until(lambda _stream: self._events(request_id, ended=True))
        return Told(answer, self._events(request_id))

    def _events(self, request_id: str, *, ended: bool = False) -> list[Any]:
        found = [event for event in self.stream.logs if event["requestId"] == request_id]
        if ended and not any((event.get("data") or {}).get("kind") == "execution.end" for event in found):
            return []
        return found


@contextlib.asynccontextmanager
async def setting(stack: Stack, folder: Path) -> AsyncIterator[Scene]:
    """Both services with a host application, and hosts out there."""
    outside = somewhere(folder)
    async with (
        platform_with_host_application(stack, folder, **outside.settings) as platform,
        outside.upstream() as upstream,
    ):
        yield Scene(platform, outside, upstream)


@contextlib.asynccontextmanager
async def guests_of(scene: Scene, engine: str, folder: Path) -> AsyncIterator[dict[str, Guest]]:
    """The guest of one engine, built, published and installed as each kind, by kind."""
    wasm = await asyncio.to_thread(_component, folder / engine, engine)
    stack = scene.platform.stack
    token = stack.tenant("acme").admin_token
    async with contextlib.AsyncExitStack() as into:
        visitor = await into.enter_async_context(visiting(stack, token))
        found: dict[str, Guest] = {}
        for kind in KINDS:
            extension = await _installed(visitor, scene, kind, engine, wasm, folder)
            stream = await into.enter_async_context(watching(stack, extension, token))
            found[kind] = Guest(visitor, scene, engine, extension, stream)
        await _settled(found[GRANTED])
        yield found


def described(kind: str, engine: str, outside: Outside) -> dict[str, Any]:
    """The manifest of such an extension."""
    return manifest(
        f"tests.capabilities-{kind}-{engine}",
        capabilities=ASKED,
        permissions={"egress": [outside.origin()], "secrets": [{"name": SECRET}]},
        config={"type": "object", "properties": {name: {"type": "string"} for name in CONFIG}},
        api={
            "endpoints": [
                {"method": "POST", "path": "/call/:interface/:function", "handler": "call"},
                {"method": "POST", "path": "/report", "handler": "report", "schedulable": True},
            ]
        },
    )


def _component(project: Path, engine: str) -> bytes:
    sources = project / "src" if engine != "python" else project
    sources.mkdir(parents=True)
    shutil.copyfile(HERE / "capability_guests" / SOURCES[engine], sources / SOURCES[engine])
    about = manifest("tests.capabilities", capabilities=ASKED)  # of which the world follows; ports change
    (project / "manifest.json").write_bytes(msgspec.json.encode(about))
    if engine != "python":
        (project / "package.json").write_text(json.dumps({"alga": {"engine": engine, "runtime": True}}))
        (project / "node_modules").symlink_to(EXAMPLES / "node_modules")
    return built(f"capabilities-{engine}", project, write_world(open_project(project)))


async def _installed(visitor: Visitor, scene: Scene, kind: str, engine: str, wasm: bytes, folder: Path) -> Extension:
    about = described(kind, engine, scene.outside)
    data, digest = packed(folder, about, wasm, known=frozenset(shipped().capabilities))
    key = PrivateKey.from_pem(Path(visitor.stack.signing_key).read_text())
    published = await visitor.publish(data, signed(about, digest, key))
    assert published.status == 200, published.body
    assert published.json()["state"] == "ready", published.body
    if kind == GRANTED:
        grants: dict[str, Any] = {"capabilities": ASKED, "egress": [scene.outside.origin()], "secrets": [SECRET]}
    else:
        grants = {"withhold": [name for name in DEFAULTS if name != ALWAYS]}
    body = {"extension": published.json()["extension_id"], "grants": grants, "config": CONFIG}
    answer = await visitor.post("/api/installs", body)
    assert answer.status == 201, answer.body
    install_id = str(answer.json()["install_id"])
    kept = await visitor.call(
        "PUT",
        f"/api/installs/{install_id}/secrets",
        data=msgspec.json.encode({SECRET: SECRET_VALUE}),
        headers={"content-type": "application/json"},
    )
    assert kept.status == 200, kept.body
    return Extension(
        id=published.json()["extension_id"],
        name=about["name"],
        version=about["version"],
        content_hash=str(digest.content_hash),
        install_id=install_id,
        tenant_id="acme",
    )


async def _settled(guest: Guest) -> None:
    """Wait until the gateway has read the install with its secret."""
    async with asyncio.timeout(SETTLED_MAX_S):
        while (await guest.call("secrets/get", {"key": SECRET})).value != {"value": SECRET_VALUE}:  # noqa: ASYNC110
            await asyncio.sleep(0.1)  # a cache forgets, and tells nobody
