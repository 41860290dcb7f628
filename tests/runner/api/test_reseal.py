"""`POST /v1/reseal`: who may ask, what comes back, and that only boxes cross the door."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from runner.api.internal import InternalApp, Readiness
from runner.api.reseal import ResealDoor
from runner.metrics import RunnerMetrics
from runner.secrets.keyring import Keyring, SealedBoxes
from shared import wire
from shared.limits import RESEAL_BATCH_MAX_COUNT, RESEAL_BODY_MAX_BYTES, SECRET_VALUE_MAX_BYTES
from shared.sealing import SealingKey
from shared.tokens import Verifier
from shared.wire import JSON, ResealRequest, ResealResponse, SecretEnvelope
from tests.runner.api.door import KEY as GATEWAY_KEY
from tests.runner.api.door import OTHER_KEY, SERVICE_TOKEN, Table, minted
from tests.runner.secrets.sealed import CANARY, KEY, OLD_KEY, boxed, envelope


class Listener:
    """The internal application with nothing but this door behind it."""

    def __init__(self) -> None:
        verifier = Verifier([GATEWAY_KEY.public], {"runner", "runner:me"})
        door = ResealDoor(Keyring(SealedBoxes([KEY, OLD_KEY])), verifier, Table())
        self._app = InternalApp(_nothing, door, RunnerMetrics(), _ready)

    async def post(
        self, body: bytes, *, token: str | None = None, method: str = "POST", **headers: str
    ) -> tuple[int, Any]:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: Any) -> None:
            sent.append(message)

        found = {"content-type": JSON, "authorization": f"Bearer {token or reseal_token(body)}"}
        found["content-length"] = str(len(body))
        raw = [(name.encode(), value.encode()) for name, value in (found | headers).items() if value]
        scope = {"type": "http", "path": "/v1/reseal", "method": method, "headers": raw}
        await self._app(scope, receive, send)
        assert CANARY.encode() not in sent[1]["body"]
        return sent[0]["status"], msgspec.json.decode(sent[1]["body"])

    async def reseal(self, *envelopes: SecretEnvelope, to: str = KEY.key_id) -> tuple[int, Any]:
        return await self.post(msgspec.json.encode(ResealRequest(envelopes=envelopes, to_key_id=to)))


async def _nothing(*_: Any) -> None:
    raise AssertionError("another door")


async def _ready() -> Readiness:
    raise AssertionError("another door")


def reseal_token(body: bytes, key: Any = GATEWAY_KEY, **changes: Any) -> str:
    bound = {"tenant": "", "extension": "", "install": "", "content_hash": ""}
    return minted(body, key, **({"op": "reseal"} | bound | changes))


@pytest.fixture
def listener() -> Listener:
    return Listener()


REQUEST = msgspec.json.encode(ResealRequest(envelopes=(envelope(key=OLD_KEY),), to_key_id=KEY.key_id))


async def test_boxes_come_back_for_the_other_key_in_their_order(listener: Listener) -> None:
    boxes = [envelope(f"s{number}", f"{CANARY}-{number}", key=OLD_KEY) for number in range(5)]
    status, answer = await listener.reseal(*boxes)
    found = msgspec.convert(answer, ResealResponse)
    assert (status, found.failures) == (200, ())
    keyring = Keyring(SealedBoxes([KEY]))
    for before, after in zip(boxes, found.envelopes, strict=True):
        assert after is not None
        assert (after.name, after.key_id) == (before.name, KEY.key_id)
        assert await keyring.open(after) == await Keyring(SealedBoxes([OLD_KEY])).open(before)


async def test_what_cannot_be_opened_is_told_by_its_place_and_the_rest_goes_on(listener: Listener) -> None:
    stranger = envelope("theirs", key=SealingKey(b"\3" * 32))
    _, answer = await listener.reseal(envelope(key=OLD_KEY), stranger, envelope(ciphertext_b64="?"), envelope("last"))
    found = msgspec.convert(answer, ResealResponse)
    assert [one is not None for one in found.envelopes] == [True, False, False, True]
    assert [(one.index, one.code) for one in found.failures] == [(1, "secret_unavailable"), (2, "secret_unavailable")]
    assert stranger.key_id in found.failures[0].message


async def test_it_decrypts_for_nobody(listener: Listener) -> None:
    _, answer = await listener.reseal(envelope(ciphertext_b64=boxed(b"any bytes at all", KEY)), to=OLD_KEY.key_id)
    assert answer["envelopes"] == [None]


async def test_a_key_it_lacks_is_refused_before_anything_is_opened(listener: Listener) -> None:
    status, answer = await listener.reseal(envelope(), to="0" * 16)
    assert (status, answer["code"]) == (502, "secret_unavailable")
    assert "0" * 16 in answer["detail"]


@pytest.mark.parametrize(
    "token",
    [
        SERVICE_TOKEN,
        "x",
        reseal_token(REQUEST, OTHER_KEY),
        reseal_token(REQUEST, op="execute"),
        reseal_token(REQUEST, aud="compiler"),
        reseal_token(REQUEST + b" "),
        reseal_token(REQUEST, iat=int(time.time()) - 300, exp=int(time.time()) - 270),
    ],
)
async def test_every_other_token_is_refused(listener: Listener, token: str) -> None:
    status, answer = await listener.post(REQUEST, token=token)
    assert (status, answer["code"]) == (401, "unauthorized")


async def test_a_missing_token_and_a_used_one_are_refused(listener: Listener) -> None:
    assert (await listener.post(REQUEST, authorization=""))[0] == 401
    token = reseal_token(REQUEST)
    assert (await listener.post(REQUEST, token=token))[0] == 200
    assert (await listener.post(REQUEST, token=token))[0] == 401


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b'{"envelopes":[{}],"to_key_id":"x"}', b"\xff", b"[" * 5000])
async def test_what_is_no_request_is_refused(listener: Listener, body: bytes) -> None:
    status, answer = await listener.post(body)
    assert (status, answer["code"]) == (400, "invalid_request")


async def test_another_content_type_and_another_method_are_refused(listener: Listener) -> None:
    assert (await listener.post(REQUEST, **{"content-type": wire.MSGPACK}))[0] == 400
    assert (await listener.post(REQUEST, method="GET"))[0] == 405


@pytest.mark.parametrize(("more", "status"), [(-1, 200), (0, 200), (1, 400)])
async def test_a_batch_has_its_limit(listener: Listener, more: int, status: int) -> None:
    one = envelope(key=OLD_KEY)
    assert (await listener.reseal(*[one] * (RESEAL_BATCH_MAX_COUNT + more)))[0] == status


@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 413)])
async def test_a_body_has_its_limit(listener: Listener, more: int, status: int) -> None:
    body = REQUEST + b" " * (RESEAL_BODY_MAX_BYTES - len(REQUEST) + more)
    assert (await listener.post(body))[0] == status


async def test_a_whole_batch_of_the_largest_values_fits(listener: Listener) -> None:
    largest = envelope("x" * 128, value="\n" * SECRET_VALUE_MAX_BYTES, key=OLD_KEY)
    status, answer = await listener.reseal(*[largest] * RESEAL_BATCH_MAX_COUNT)
    assert (status, answer["failures"]) == (200, [])
