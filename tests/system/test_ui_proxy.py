"""A guest asks its host application by way of the UI proxy, and measures itself: through both services and a real sandbox."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from deploy.local.record import Stack
from shared.keys import PrivateKey, public_keys
from tests.host_application import HostApplication, answering, host_application
from tests.runner.waiting import LIMIT_S
from tests.system.acting import Visitor, manifest, packed, signed
from tests.system.gateways import another_gateway
from tests.system.keepers import component
from tests.system.runners import another_runner, environment_of, metric

PROXY = "cap:ui.proxy"
SAMPLE = "hello-quickjs"


async def installed(admin: Visitor, folder: Path) -> dict[str, Any]:
    """The sample once more, with the grant."""
    described = manifest("tests.proxied", capabilities=[PROXY])
    data, digest = packed(folder, described, await component(SAMPLE))
    key = PrivateKey.from_pem(Path(admin.stack.signing_key).read_text())
    published = await admin.publish(data, signed(described, digest, key))
    assert published.status == 200, published.body
    made = await admin.post("/api/installs", {"extension": "tests.proxied", "grants": {"capabilities": [PROXY]}})
    assert made.status == 201, made.body
    found: dict[str, Any] = made.json()
    return found


async def counted(admin: Visitor, base: str, expected: dict[str, float]) -> None:
    """Return when the counter stands like that, whichever worker is asked."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            found = [await metric(admin, base, "ext_guest_counter_greetings_total") for _ in range(4)]
            if all(one == expected for one in found):
                return
            await asyncio.sleep(0.1)


async def test_a_guest_asks_its_own_routes_for_its_user_and_counts_for_its_extension(
    stack: Stack, admin: Visitor, tmp_path: Path
) -> None:
    made = await installed(admin, tmp_path)
    path = f"/api/ext/{made['install_id']}/denied"  # the sample calls every interface there
    keys = public_keys(Path(environment_of(stack.pids["runner"])["RUNNER_GATEWAY_KEYS"]).read_text())
    async with (
        host_application(*keys) as host,
        another_runner(stack, tmp_path, UI_PROXY_BASE_URL=host.ui_proxy, RUNNER_WORKERS="2") as runner,
        another_gateway(stack, RUNNER_BASE_URL=runner.url) as gateway,
    ):
        for _ in range(4):
            told = (await admin.get(path, base=gateway.url)).json()
            assert told["ui-proxy"] not in ("denied", "internal", "bad-request", "route-not-found"), told
        host.acts.append(answering(b"a trace", 404))
        assert (await admin.get(path, base=gateway.url)).json()["ui-proxy"] == "route-not-found"
        check_asked(host, made)
        labels = f'{{extension="{made["extension_id"]}",guest_kind="hello"}}'
        await counted(admin, runner.url, {labels: 5.0})
        await admin.call("DELETE", f"/api/installs/{made['install_id']}")
        await counted(admin, runner.url, {})


def check_asked(host: HostApplication, made: dict[str, Any]) -> None:
    """Each call was to the extension's own route, with a token that says for whom."""
    assert len(host.routed) == 5
    for asked, _, claims in host.routed:
        assert asked == f"/ui-proxy/{made['extension_id']}/status"
        assert (claims.aud, claims.caps, claims.tenant) == ("ui-proxy", (PROXY,), "acme")
        assert (claims.install, claims.user_type) == (made["install_id"], "internal")
