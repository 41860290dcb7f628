"""Somebody inside the cluster network talks to a runner without being the gateway. Row T46."""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest

import pytest

from runner.api import execute
from runner.sandbox.pool import SandboxPool
from shared import wire
from tests.runner.api.door import (
    EXTENSION,
    HASH,
    INSTALL,
    OTHER_KEY,
    SERVICE_TOKEN,
    VERSION,
    Runner,
    minted,
    request,
)

BODY = wire.encode_execute(request())
WRONG: dict[str, Callable[[], str | None]] = {
    "nothing": lambda: None,
    "an empty token": lambda: "Bearer ",
    "another scheme": lambda: f"Basic {SERVICE_TOKEN}",
    "the token without a scheme": lambda: SERVICE_TOKEN,
    "a token wrong by its last byte": lambda: f"Bearer {SERVICE_TOKEN[:-1]}X",
    "a token wrong by its first byte": lambda: f"Bearer X{SERVICE_TOKEN[1:]}",
    "all but the last byte of it": lambda: f"Bearer {SERVICE_TOKEN[:-1]}",
    "the token twice": lambda: f"Bearer {SERVICE_TOKEN}{SERVICE_TOKEN}",
    "bytes that are no text": lambda: "Bearer \xff\xfe\x80",
    "a token signed with somebody's key": lambda: f"Bearer {minted(BODY, OTHER_KEY)}",
    "a token for another body": lambda: f"Bearer {minted(BODY + b' ')}",
    "a token for another tenant": lambda: f"Bearer {minted(BODY, tenant='globex')}",
}


@pytest.mark.parametrize("what", WRONG)
async def test_t46_a_call_without_the_right_token_is_refused_and_told_nothing(
    what: str, pool: SandboxPool, behaviours: bytes
) -> None:
    runner = Runner(pool, behaviours)
    headers = {"content-type": wire.MSGPACK, "x-alga-tenant": "acme", "x-alga-extension": EXTENSION}
    credential = WRONG[what]()
    if credential is not None:
        headers["authorization"] = credential
    status, answered, body = await runner.post(BODY, headers)
    answer = wire.decode_answer(body, wire.MSGPACK)
    assert answer.error is not None
    assert (status, answer.error.code, answer.error.started) == (401, "unauthorized", False)
    shown = f"{answered} {answer}"
    assert [
        known for known in ("acme", "globex", EXTENSION, INSTALL, VERSION, HASH, SERVICE_TOKEN) if known in shown
    ] == []
    assert runner.bundles.loads == 0
    assert runner.sink.events == []


@pytest.mark.parametrize("credential", [SERVICE_TOKEN, None])
async def test_t46_the_right_token_opens_the_same_door(
    credential: str | None, pool: SandboxPool, behaviours: bytes
) -> None:
    assert (await Runner(pool, behaviours).call(token=credential))[0] == 200


async def test_t46_the_token_is_compared_in_constant_time_and_whole(
    pool: SandboxPool, behaviours: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return compare_digest(one, other)

    monkeypatch.setattr(execute.hmac, "compare_digest", compare)
    runner = Runner(pool, behaviours)
    wrong = SERVICE_TOKEN[:-1] + "X"
    for token, status in ((wrong, 401), (SERVICE_TOKEN, 200)):
        assert (await runner.call(token=token))[0] == status
    assert compared == [(wrong.encode(), SERVICE_TOKEN.encode()), (SERVICE_TOKEN.encode(),) * 2]
