"""What is written down: one row for each call with its end, and what an administrator switched off stays off."""

from __future__ import annotations

import pytest

from deploy.local.record import Stack
from tests.system.acting import Visitor
from tests.system.recorded import row_of


@pytest.mark.parametrize(
    ("path", "state", "code"),
    [
        ("/hello", "ok", None),
        ("/trap", "guest_error", "guest_trapped"),
        ("/bomb", "guest_error", "guest_memory_exceeded"),
    ],
)
async def test_every_call_has_one_row_with_its_end(
    admin: Visitor, stack: Stack, path: str, state: str, code: str | None
) -> None:
    answer = await admin.get(f"/api/ext/alga.samples.hello-quickjs{path}")
    row = await row_of(stack, answer)
    extension = stack.extension("hello-quickjs", "acme")
    assert (row["state"], row["code"], row["http_status"]) == (state, code, answer.status)
    assert (row["tenant_id"], row["install_id"]) == ("acme", extension.install_id)
    assert row["content_hash"] == extension.content_hash
    assert row["duration_ms"] > 0


async def test_a_disabled_extension_answers_nobody_and_an_enabled_one_everybody(admin: Visitor, stack: Stack) -> None:
    install = stack.extension("hello-starling", "acme").install_id
    hello = "/api/ext/alga.samples.hello-starling/hello"
    other = admin.with_token(stack.tenant("globex").admin_token)
    assert (await admin.post(f"/api/installs/{install}/disable", {})).status == 200
    try:
        answer = await admin.get(hello)
        assert (answer.status, answer.code) == (404, "extension_disabled")
        assert (await other.get(hello)).status == 200
    finally:
        assert (await admin.post(f"/api/installs/{install}/enable", {})).status == 200
    assert (await admin.get(hello)).status == 200
