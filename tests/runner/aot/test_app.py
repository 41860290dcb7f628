"""The compiler role over HTTP: a real listener, a real store, and the runner's own client and loader against both."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest

from deploy.local.s3 import S3
from runner.aot import artefacts
from runner.aot.app import BODY_MAX_BYTES
from runner.aot.jobs import CompileLimits
from runner.aot.loader import ArtefactLoader
from runner.aot.serve import serve_compiler
from runner.bundles.background import Background
from runner.bundles.cache import DiskCache
from runner.bundles.objects import open_objects
from runner.bundles.statements import Statements
from runner.clients.compiler import RETRY_AFTER_S, CompilerClient
from runner.clients.http import open_session
from runner.clients.identity import Identity
from runner.sandbox.engine import CPU_TARGET, EngineOptions, engine_id
from shared.digest import sha256_hex
from shared.errors import ArtefactUnavailable, BundleNotFound, BundleUntrusted
from shared.ids import ContentHash
from shared.keys import PrivateKey
from shared.settings import SettingError
from shared.tokens import ExecuteClaims, IdentityClaims, mint, new_jti
from shared.wire import PrepareResponse
from tests.runner.aot.compiler_role import AOT, CALLER, PUBLISHER, compiler_settings, serving, soon
from tests.runner.aot.heavy import heavy_guest
from tests.runner.conftest import store_settings
from tests.runner.published import Published, component, publish, trusting

pytestmark = [pytest.mark.system, pytest.mark.guests]

ABSENT = ContentHash("sha256:" + "0" * 64)


class Nothing:
    def count(self, stage: str) -> None:
        """Not counted here."""


@pytest.fixture
async def url(store_server: S3, tmp_path: Path, unused_tcp_port: int) -> AsyncIterator[str]:
    """A running compiler role."""
    async with serving(compiler_settings(store_server, tmp_path, unused_tcp_port, PUBLISHER.public.pem())) as base:
        yield base


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session(store_settings(tmp_path, "http://127.0.0.1:1")) as opened:
        yield opened


@pytest.fixture
async def bundle(store_server: S3, tmp_path: Path) -> Published:
    """Published as the gateway does it, with a component of its own so that every test begins cold."""
    return await published(store_server, tmp_path / "bundle", component(os.urandom(8)))


async def published(store_server: S3, tmp_path: Path, guest: bytes) -> Published:
    found = publish(tmp_path / "bundle", PUBLISHER, {"dist/main.wasm": guest}, ui=None)
    login = store_server.gateway
    async with open_objects(
        store_settings(tmp_path, store_server.endpoint, login.access_key, login.secret_key)
    ) as objects:
        for name, data in found.objects.items():
            await objects.write(name, data, soon())
    return found


def identity_token(key: PrivateKey = CALLER, audience: str = "compiler", age_s: int = 0) -> str:
    now = int(time.time()) - age_s
    return mint(key, IdentityClaims(iss=key.key_id, aud=audience, jti=new_jti(), iat=now, exp=now + 60))


def execute_token(body: bytes, operation: str = "prepare") -> str:
    now = int(time.time())
    return mint(
        CALLER,
        ExecuteClaims(
            iss=CALLER.key_id,
            aud="compiler",
            op=operation,
            jti=new_jti(),
            iat=now,
            exp=now + 30,
            body_sha256=sha256_hex(body),
        ),
    )


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def text_of(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get(url) as answer:
        return await answer.text()


async def post(session: aiohttp.ClientSession, url: str, body: bytes, token: str) -> tuple[int, bytes]:
    async with session.post(f"{url}/v1/prepare", data=body, headers=bearer(token)) as answer:
        return answer.status, await answer.read()


def asked(content_hash: str) -> bytes:
    return msgspec.json.encode({"content_hash": content_hash})


# ---- the whole way ------------------------------------------------------------------------------------------


async def test_a_cold_runner_gets_code_through_the_compiler_and_the_next_one_from_the_store(
    url: str, session: aiohttp.ClientSession, bundle: Published, store_server: S3, tmp_path: Path
):
    login = store_server.runner
    settings = store_settings(tmp_path, store_server.endpoint, login.access_key, login.secret_key)
    sources: list[str] = []
    async with open_objects(settings) as objects, Background() as background:
        for node in ("one", "two"):
            cache = DiskCache(tmp_path / node, max_bytes=1 << 24)
            await cache.open()
            loader = ArtefactLoader(
                statements=Statements(objects, cache, trusting(PUBLISHER), background),
                cache=cache,
                objects=objects,
                compiler=CompilerClient(session, url, Identity(CALLER)),
                keys=[AOT.public],
                engine_id=engine_id(EngineOptions()),
                cpu_target=CPU_TARGET,
                background=background,
                cold_loads=Nothing(),
            )
            found = await loader.load(bundle.content_hash, soon())
            os.close(found.memfd)
            sources.append(found.source)
            await loader.aclose()
    assert sources == ["compiled", "store"]


async def test_the_gateways_token_prepares_and_the_answer_has_the_manifest(
    url: str, session: aiohttp.ClientSession, bundle: Published
):
    body = asked(bundle.content_hash)
    status, answer = await post(session, url, body, execute_token(body))
    assert status == 200
    found = msgspec.json.decode(answer, type=PrepareResponse)
    assert found.content_hash == bundle.content_hash
    assert msgspec.json.decode(found.manifest)["publisher"] == "acme"
    assert found.artefact == "compiled"


async def test_what_it_counts_is_exposed(url: str, session: aiohttp.ClientSession):
    await post(session, url, asked(ABSENT), identity_token())
    async with session.get(f"{url}/metrics") as answer:
        text = await answer.text()
    assert 'ext_prepare_total{outcome="bundle_not_found"} 1.0' in text
    assert "ext_prepare_seconds_count 1.0" in text


@pytest.mark.slow
async def test_a_full_queue_is_503_with_a_time_to_come_back_and_the_runner_passes_it_on(
    session: aiohttp.ClientSession, store_server: S3, tmp_path: Path, unused_tcp_port: int
):
    first, second = [await published(store_server, tmp_path / str(n), heavy_guest(20_000, n)) for n in range(2)]
    settings = compiler_settings(store_server, tmp_path, unused_tcp_port, PUBLISHER.public.pem())
    async with serving(settings, CompileLimits(at_once=1, waiting_max=0)) as url:
        client = CompilerClient(session, url, Identity(CALLER))
        running = asyncio.create_task(client.prepare(first.content_hash, soon()))
        async with asyncio.timeout(20):
            while 'ext_prepare_jobs{state="running"} 1.0' not in await text_of(session, f"{url}/metrics"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        body = asked(second.content_hash)
        async with session.post(f"{url}/v1/prepare", data=body, headers=bearer(identity_token())) as answer:
            assert (answer.status, (await answer.json())["code"]) == (503, "overloaded")
            wait_s = int(answer.headers["retry-after"])
        with pytest.raises(ArtefactUnavailable) as raised:
            await client.prepare(second.content_hash, soon())
        assert raised.value.retry_after_s == wait_s > RETRY_AFTER_S
        assert (await running).artefact == "compiled"
        assert (await client.prepare(second.content_hash, soon())).artefact == "compiled"


async def test_a_replaced_artefact_is_counted(
    url: str, session: aiohttp.ClientSession, bundle: Published, store_server: S3, tmp_path: Path
):
    client = CompilerClient(session, url, Identity(CALLER))
    await client.prepare(bundle.content_hash, soon())
    login, where = store_server.gateway, (engine_id(EngineOptions()), bundle.statement.component_sha256 or "")
    async with open_objects(
        store_settings(tmp_path, store_server.endpoint, login.access_key, login.secret_key)
    ) as objects:
        await objects.write(artefacts.object_key(*where), b"evil", soon())
    assert (await client.prepare(bundle.content_hash, soon())).artefact == "compiled"
    assert 'ext_cache_tampered_total{where="store"} 1.0' in await text_of(session, f"{url}/metrics")


async def test_it_is_ready_and_names_its_store(url: str, session: aiohttp.ClientSession):
    async with session.get(f"{url}/readyz") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok", "object_store": "ok"})
        assert "server" not in answer.headers


# ---- who is refused -----------------------------------------------------------------------------------------

BODY = asked(ABSENT)
TOKENS = {
    "none": lambda: "",
    "not a token": lambda: "a.b.c",
    "an unknown key": lambda: identity_token(PrivateKey.generate()),
    "another audience": lambda: identity_token(audience="gateway"),
    "expired": lambda: identity_token(age_s=180),
    "an execute token for another operation": lambda: execute_token(BODY, "execute"),
    "an execute token for another body": lambda: execute_token(b"{}"),
}


@pytest.mark.security
@pytest.mark.parametrize("which", TOKENS)
async def test_a_caller_without_the_right_token_is_refused(url: str, session: aiohttp.ClientSession, which: str):
    status, answer = await post(session, url, BODY, TOKENS[which]())
    assert status == 401
    assert msgspec.json.decode(answer)["code"] == "unauthorized"


@pytest.mark.security
async def test_a_token_is_good_once(url: str, session: aiohttp.ClientSession):
    token = identity_token()
    assert (await post(session, url, BODY, token))[0] == 404
    assert (await post(session, url, BODY, token))[0] == 401


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "invalid_request"),
        (b'{"content_hash":"\xff"}', 400, "invalid_request"),
        (b"{}", 400, "invalid_request"),
        (asked("sha256:short"), 400, "invalid_request"),
        (asked(ABSENT), 404, "bundle_not_found"),
        (b" " * (BODY_MAX_BYTES + 1), 413, "payload_too_large"),
    ],
)
async def test_a_request_that_is_wrong_says_so_in_one_shape(
    url: str, session: aiohttp.ClientSession, body: bytes, status: int, code: str
):
    found, answer = await post(session, url, body, identity_token())
    problem = msgspec.json.decode(answer)
    assert (found, problem["status"], problem["code"]) == (status, status, code)
    assert problem["detail"]
    assert problem["request_id"]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/prepare", 405), ("POST", "/v1/execute", 404)])
async def test_nothing_else_is_offered(url: str, session: aiohttp.ClientSession, method: str, path: str, status: int):
    async with session.request(method, url + path) as answer:
        assert answer.status == status
        assert answer.headers["content-type"] == "application/problem+json"


async def test_the_runners_client_raises_what_the_compiler_refused(url: str, session: aiohttp.ClientSession):
    with pytest.raises(BundleNotFound):
        await CompilerClient(session, url, Identity(CALLER)).prepare(ABSENT, soon())


async def test_the_runners_client_without_a_good_key_is_unavailable_and_shows_no_token_matters(
    url: str, session: aiohttp.ClientSession
):
    with pytest.raises(ArtefactUnavailable, match="unauthorized"):
        await CompilerClient(session, url, Identity(PrivateKey.generate())).prepare(ABSENT, soon())


async def test_an_archive_that_is_none_is_untrusted_for_a_runner(
    url: str, session: aiohttp.ClientSession, bundle: Published, store_server: S3, tmp_path: Path
):
    login = store_server.gateway
    async with open_objects(
        store_settings(tmp_path, store_server.endpoint, login.access_key, login.secret_key)
    ) as objects:
        await objects.write(bundle.archive_key, b"not a bundle", soon())
    with pytest.raises(BundleUntrusted):
        await CompilerClient(session, url, Identity(CALLER)).prepare(bundle.content_hash, soon())


async def test_a_compiler_that_is_not_there_is_unavailable(session: aiohttp.ClientSession, unused_tcp_port: int):
    client = CompilerClient(session, f"http://127.0.0.1:{unused_tcp_port}", Identity(CALLER))
    with pytest.raises(ArtefactUnavailable) as raised:
        await client.prepare(ABSENT, soon())
    assert raised.value.retry_after_s


async def test_without_a_usable_trust_bundle_it_does_not_start(store_server: S3, tmp_path: Path, unused_tcp_port: int):
    settings = compiler_settings(store_server, tmp_path, unused_tcp_port, str(tmp_path / "missing.pem"))
    with pytest.raises(SettingError, match="SIGNING_TRUST_BUNDLE"):
        await serve_compiler(settings, asyncio.Event())
