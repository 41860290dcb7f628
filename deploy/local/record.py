"""`stack.json`: where everything of a running stack is. A contract: test suites and tools read it.

Fields are added, never renamed. The file holds credentials of demo users, so only its owner can read it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from deploy.local.failures import StackError
from deploy.local.private import write_private

NAME: Final = "stack.json"


class ObjectStore(msgspec.Struct, frozen=True, kw_only=True):
    """The bucket, with the gateway's credentials."""

    endpoint: str
    region: str
    access_key: str
    secret_key: str
    bucket: str


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """A demo tenant and the credentials of its people."""

    id: str
    name: str
    admin_token: str
    user_token: str
    client_token: str
    api_key: str


class Extension(msgspec.Struct, frozen=True, kw_only=True):
    """One install of a sample: `id` is the registry's, the same for every tenant."""

    id: str
    name: str
    version: str
    content_hash: str
    install_id: str
    tenant_id: str


class Stack(msgspec.Struct, frozen=True, kw_only=True):
    """A running stack.

    Attributes:
        gateway_url: the public listener of the gateway.
        runner_url: the internal listener of the runner (`POST /v1/execute`).
        runner_public_base: where the runner serves extension UIs.
        database_url: PostgreSQL as the superuser.
        redis_url: Redis as a user who may do everything.
        runner_service_token: the static bearer token the runner accepts from other callers.
        operator_token: a session token with `platform:admin`.
        trust_bundle, signing_key: files: the trust anchors, and the publisher's private key.
        gateway_internal_url, compiler_url: the other two internal listeners.
        pids: process of each service by name.
    """

    gateway_url: str
    runner_url: str
    runner_public_base: str
    database_url: str
    redis_url: str
    s3: ObjectStore
    runner_service_token: str
    operator_token: str
    trust_bundle: str
    signing_key: str
    tenants: tuple[Tenant, ...]
    extensions: tuple[Extension, ...]
    gateway_internal_url: str = ""
    compiler_url: str = ""
    pids: dict[str, int] = {}

    def tenant(self, tenant_id: str) -> Tenant:
        """The tenant with this id. Raises `KeyError`."""
        for tenant in self.tenants:
            if tenant.id == tenant_id:
                return tenant
        raise KeyError(tenant_id)

    def extension(self, name: str, tenant_id: str) -> Extension:
        """The install of `name` (the last part of the extension's name is enough) at a tenant. Raises `KeyError`."""
        for extension in self.extensions:
            if extension.tenant_id == tenant_id and extension.name.rpartition(".")[2] == name.rpartition(".")[2]:
                return extension
        raise KeyError(f"{name} at {tenant_id}")


def write(directory: Path, stack: Stack) -> Path:
    """Write `stack.json` into `directory`, mode 0600, complete or not at all. Returns its path."""
    path = directory / NAME
    write_private(path, msgspec.json.format(msgspec.json.encode(stack)) + b"\n")
    return path


def read(directory: Path) -> Stack:
    """The stack that runs in `directory`. Raises `StackError` when none is ready there."""
    path = directory / NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Stack)
    except FileNotFoundError as error:
        raise StackError(f"no stack is ready in {directory}", next_step="start one: `make run`") from error
    except msgspec.MsgspecError as error:
        raise StackError(f"{path} cannot be read: {error}", next_step="stop the stack and start it again") from error
