"""The gateway's way to `POST /v1/reseal`: its token, and what of an answer is believed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from aiohttp import web

from gateway.proxy.reseal import ResealClient, open_resealing
from gateway.settings import load_settings
from shared.errors import BadGateway, SecretUnavailable, Unauthorized
from shared.keys import PrivateKey
from shared.tokens import ExecuteClaims, Verifier, check_body
from shared.wire import ResealFailure, ResealRequest, ResealResponse, SecretEnvelope
from tests.gateway.test_settings import ENOUGH

KEY = PrivateKey(b"\7" * 32)
BOXES = tuple(
    SecretEnvelope(name=name, algorithm="nacl-sealed:v1", key_id="0011223344556677", ciphertext_b64="AAEC")
    for name in ("api_key", "webhook")
)
MOVED = tuple(msgspec.structs.replace(box, key_id="8899aabbccddeeff") for box in BOXES)

Act = Callable[[ResealRequest], web.Response]


def as_json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


@contextlib.asynccontextmanager
async def runner(act: Act, claims: list[ExecuteClaims] | None = None) -> AsyncIterator[ResealClient]:
    """A client of a runner that answers like this."""
    verifier = Verifier([KEY.public], {"runner"})

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        found = verifier.verify(request.headers["authorization"].removeprefix("Bearer "), ExecuteClaims)
        check_body(found, body)
        if claims is not None:
            claims.append(found)
        return act(msgspec.json.decode(body, type=ResealRequest))

    app = web.Application(client_max_size=1 << 23)
    app.router.add_post("/v1/reseal", handle)
    site_runner = web.AppRunner(app)
    await site_runner.setup()
    await web.TCPSite(site_runner, "127.0.0.1", 0).start()
    try:
        async with client(f"http://127.0.0.1:{site_runner.addresses[0][1]}") as found:
            yield found
    finally:
        await site_runner.cleanup()


@contextlib.asynccontextmanager
async def client(url: str) -> AsyncIterator[ResealClient]:
    env = ENOUGH | {"EXT_MODE": "local", "RUNNER_BASE_URL": url, "GATEWAY_SIGNING_KEY": KEY.pem()}
    async with open_resealing(load_settings(env)) as found:
        yield found


async def test_boxes_go_out_with_a_token_for_this_and_nothing_else() -> None:
    claims: list[ExecuteClaims] = []
    async with runner(lambda asked: as_json(ResealResponse(envelopes=MOVED)), claims) as asking:
        for _ in range(2):
            assert (await asking.reseal(BOXES, "8899aabbccddeeff")).envelopes == MOVED
    first, second = claims
    assert (first.op, first.tenant, first.caps) == ("reseal", "", ())
    assert first.jti != second.jti


async def test_what_the_runner_could_not_open_is_passed_on() -> None:
    told = ResealResponse(
        envelopes=(MOVED[0], None), failures=(ResealFailure(index=1, code="secret_unavailable", message="m"),)
    )
    async with runner(lambda asked: as_json(told)) as asking:
        assert await asking.reseal(BOXES, "8899aabbccddeeff") == told


@pytest.mark.parametrize(
    ("code", "kind"), [("secret_unavailable", SecretUnavailable), ("unauthorized", Unauthorized), ("?", Exception)]
)
async def test_a_refusal_keeps_its_code(code: str, kind: type[Exception]) -> None:
    async with runner(lambda asked: as_json({"code": code, "detail": "why"}, 502)) as asking:
        with pytest.raises(kind, match="why"):
            await asking.reseal(BOXES, "8899aabbccddeeff")


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(body=b""),
        lambda: web.Response(body=b"\xff", status=500),
        lambda: as_json({}),
        lambda: as_json(ResealResponse(envelopes=MOVED[:1])),
        lambda: as_json(ResealResponse(envelopes=(MOVED[0], None))),
        lambda: as_json(ResealResponse(envelopes=MOVED, failures=(ResealFailure(index=1, code="x", message=""),))),
        lambda: web.Response(body=b" " * (5 << 20)),
    ],
)
async def test_an_answer_that_does_not_fit_is_none(answer: Callable[[], web.Response]) -> None:
    async with runner(lambda asked: answer()) as asking:
        with pytest.raises(BadGateway):
            await asking.reseal(BOXES, "8899aabbccddeeff")


async def test_a_runner_that_is_away_is_said_to_be() -> None:
    async with client("http://127.0.0.1:9") as asking:
        with pytest.raises(BadGateway, match=r"127\.0\.0\.1:9"):
            await asking.reseal(BOXES, "8899aabbccddeeff")
