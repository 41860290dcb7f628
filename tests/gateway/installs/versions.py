"""Versions of one extension that ask for different things, and what the database keeps about an install."""

from __future__ import annotations

from typing import Any

from shared.keys import PrivateKey
from tests.gateway.asgi import Answer, Client
from tests.gateway.bundles import Bundle, bundle
from tests.gateway.registry_flow import install, publish
from tests.gateway.services import DatabaseUrls, owner
from tests.gateway.stub_compiler import StubCompiler

NAME = "acme.sync"

HOST = {"host": "api.example.com", "reason": "to sync"}

SMALL = bundle(NAME, "1.0.0")
SAME = bundle(NAME, "1.1.0", description="asks for the same")
WIDER = bundle(
    NAME,
    "2.0.0",
    capabilities=["http.fetch"],
    permissions={"egress": [HOST], "secrets": [{"name": "token", "hosts": ["api.example.com"]}]},
)

CONSENT = {"capabilities": ["http.fetch"], "egress": ["api.example.com"], "secrets": ["token"]}


def asks(one: Bundle) -> dict[str, Any]:
    """What a version asks for, for another one that asks for the same."""
    return {name: one.manifest[name] for name in ("capabilities", "permissions")}


class Life:
    """One install of tenant `acme`, through its versions."""

    def __init__(self, client: Client, compiler: StubCompiler, key: PrivateKey, database: DatabaseUrls) -> None:
        self.client, self.compiler, self.key, self.database = client, compiler, key, database
        self.id = ""

    async def publish(self, *versions: Bundle) -> list[str]:
        """Make versions ready; their ids."""
        return [(await publish(self.client, self.compiler, one, self.key))["version_id"] for one in versions]

    async def begin(self, first: Bundle = SMALL, **members: Any) -> dict[str, Any]:
        """Publish a version and install it."""
        await self.publish(first)
        answer = await install(self.client, NAME, version=first.manifest["version"], **members)
        assert answer.status == 201, answer.body
        found: dict[str, Any] = answer.json()
        self.id = found["install_id"]
        return found

    async def post(self, tail: str, body: object = None) -> Answer:
        """`POST` to the install."""
        return await self.client.send_json("POST", f"/api/installs/{self.id}/{tail}", body or {})

    async def get(self, tail: str = "") -> Answer:
        """`GET` of the install."""
        return await self.client.get(f"/api/installs/{self.id}{tail}")

    async def view(self) -> dict[str, Any]:
        """The install as it stands."""
        answer = await self.get()
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.json()
        return found

    async def upgraded(self, **members: Any) -> dict[str, Any]:
        """An upgrade that is applied at once."""
        answer = await self.post("upgrade", members)
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.json()
        return found

    async def history(self) -> list[tuple[str, str]]:
        """Action and version of everything that happened, newest first."""
        return [(one["action"], one["version"]) for one in (await self.get("/history")).json()["items"]]

    async def rows(self, statement: str) -> list[tuple[object, ...]]:
        """What the database has, outside every rule."""
        async with owner(self.database.owner) as connection:
            return await (await connection.execute(statement)).fetchall()  # type: ignore[arg-type]

    async def revoke(self, version: str) -> None:
        """Withdraw a version."""
        await self.rows_of(f"update extension_version set revoked_at = now() where version = '{version}'")

    async def rows_of(self, statement: str) -> None:
        """Change what the database has, outside every rule."""
        async with owner(self.database.owner) as connection:
            await connection.execute(statement)  # type: ignore[arg-type]
