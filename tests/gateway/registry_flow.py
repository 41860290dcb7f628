"""What a publisher and an administrator do, as the API has it: the first lines of many tests."""

from __future__ import annotations

from typing import Any

from shared.keys import PrivateKey
from tests.gateway.asgi import Answer, Client
from tests.gateway.bundles import Bundle
from tests.gateway.stub_compiler import StubCompiler


async def upload(client: Client, data: bytes) -> str:
    """Stage bytes; the upload's id."""
    answer = await client.request("POST", "/api/registry/bundles", headers={}, body=data)
    assert answer.status == 201, answer.body
    found: str = answer.json()["upload_id"]
    return found


async def finalize(client: Client, one: Bundle, key: PrivateKey, **members: Any) -> Answer:
    """Upload and finalise with the author's signature."""
    upload_id = await upload(client, one.data)
    return await client.post(f"/api/registry/bundles/{upload_id}/finalize", {"signature": one.signature(key)} | members)


async def publish(
    client: Client, compiler: StubCompiler, one: Bundle, key: PrivateKey, **found_there: Any
) -> dict[str, Any]:
    """A version that is ready; `found_there` is what else the compiler says."""
    compiler.bundles[one.digest] = one.found(**found_there)
    answer = await finalize(client, one, key)
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json()
    assert found["state"] == "ready", found
    return found


async def install(client: Client, extension: str, **members: Any) -> Answer:
    """`POST /api/installs`."""
    return await client.post("/api/installs", {"extension": extension} | members)


def refused(answer: Answer, status: int, code: str) -> None:
    """The answer is this refusal."""
    assert (answer.status, answer.json()["code"]) == (status, code), answer.body
