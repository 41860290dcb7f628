"""S3 on loopback: `ministack` in a virtual environment of its own, since it pins another botocore.

Signatures are checked (`AUTH=true`), but only of IAM users: the server trusts its root key by name. So three users
are made at every start, with the rights production gives them: the gateway reads and writes, the compiler reads
and writes `aot/`, the runner only reads. Objects are files and survive a `kill -9`; keys change with each start.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import msgspec
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore.exceptions import ClientError

from deploy.local import venvs
from deploy.local.ports import LOOPBACK, random_free
from deploy.local.processes import Child, Program, plain_environment, running

DEFAULT_PORT: Final = 4566
REGION: Final = "us-east-1"
BUCKET: Final = "alga-bundles"
READY_MAX_S: Final = 60.0  # 1 s on an idle machine
REPLY_MAX_S: Final = 2.0
CALL_MAX_S: Final = 30.0
_ROOT_KEY: Final = "stack-root"


class Login(msgspec.Struct, frozen=True):
    """The access key of one IAM user."""

    access_key: str
    secret_key: str


class S3(msgspec.Struct, frozen=True, kw_only=True):
    """A running server with one bucket.

    Attributes:
        endpoint: `http://host:port`; buckets stand in the path.
        region, bucket: the names to use.
        gateway: may do everything with the bucket.
        compiler: may read everything and write below `aot/`.
        runner: may only read.
        pid: of the server.
        child: the process, to be watched.
    """

    endpoint: str
    region: str
    bucket: str
    gateway: Login
    compiler: Login
    runner: Login
    pid: int
    child: Child

    @property
    def access_key(self) -> str:
        """The gateway's access key."""
        return self.gateway.access_key

    @property
    def secret_key(self) -> str:
        """The gateway's secret key."""
        return self.gateway.secret_key


@contextlib.asynccontextmanager
async def s3(
    directory: Path,
    port: int | None = None,
    *,
    bucket: str = BUCKET,
    log: Path | None = None,
    keep: bool = True,
) -> AsyncIterator[S3]:
    """Run the server whose objects are in `directory`; `bucket` is made when missing.

    Args:
        directory: keeps the objects. Made when missing.
        port: where to listen; `None` = any free one.
        bucket: the one bucket the users may reach.
        log: the server's log; default `server.log` in `directory`.
        keep: `False` removes the directory at the end, as tests want it.

    Raises:
        StackError: the server's packages could not be installed, or it did not start.
    """
    python = await venvs.ensure("s3")
    (directory / "tmp").mkdir(parents=True, exist_ok=True)
    chosen = port if port is not None else random_free()
    root = Login(_ROOT_KEY, secrets.token_urlsafe(24))
    program = Program(
        name="S3",
        argv=(str(python), "-I", "-m", "ministack"),
        env=_environment(directory, chosen, root),
        log=log or directory / "server.log",
        cwd=directory,
    )
    endpoint = f"http://{LOOPBACK}:{chosen}"
    try:
        async with running(program) as child:
            await child.until(lambda: _answers(chosen), within_s=READY_MAX_S)
            gateway, compiler, runner = await _provision(endpoint, root, bucket)
            yield S3(
                endpoint=endpoint,
                region=REGION,
                bucket=bucket,
                gateway=gateway,
                compiler=compiler,
                runner=runner,
                pid=child.pid,
                child=child,
            )
    finally:
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)


def _environment(directory: Path, port: int, root: Login) -> dict[str, str]:
    directory = directory.absolute()
    return {
        **plain_environment(),
        "AUTH": "true",
        "SERVICES": "s3,iam,sts",
        "BIND_HOST": LOOPBACK,
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": REGION,
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(directory / "objects"),
        "TMPDIR": str(directory / "tmp"),  # its pid file
        "AWS_ACCESS_KEY_ID": root.access_key,
        "AWS_SECRET_ACCESS_KEY": root.secret_key,
        "LOG_LEVEL": "WARNING",
    }


async def _answers(port: int) -> bool:
    """Whether the server's health page answers 200."""
    try:
        async with asyncio.timeout(REPLY_MAX_S):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                writer.write(b"GET /_ministack/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


async def _provision(endpoint: str, root: Login, bucket: str) -> tuple[Login, Login, Login]:
    """Make the bucket and the three users, and return the users' keys: gateway, compiler, runner."""
    session = get_session()
    where = {
        "endpoint_url": endpoint,
        "region_name": REGION,
        "aws_access_key_id": root.access_key,
        "aws_secret_access_key": root.secret_key,
    }
    async with asyncio.timeout(CALL_MAX_S):
        async with _client(session, "s3", where) as objects:
            try:
                await objects.create_bucket(Bucket=bucket)
            except ClientError as error:
                if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
                    raise
        read = [_allow(["s3:GetObject"], f"{bucket}/*"), _allow(["s3:ListBucket"], bucket)]
        return (
            await _user(session, where, "gateway", [_allow(["s3:*"], bucket), _allow(["s3:*"], f"{bucket}/*")]),
            await _user(session, where, "compiler", [*read, _allow(["s3:PutObject"], f"{bucket}/aot/*")]),
            await _user(session, where, "runner", read),
        )


def _client(session: AioSession, service: str, where: dict[str, str]) -> contextlib.AbstractAsyncContextManager[Any]:
    # Any: botocore makes its clients' methods at run time.
    client: Any = session.create_client(service, config=AioConfig(s3={"addressing_style": "path"}), **where)
    return client  # type: ignore[no-any-return]


class _Statement(msgspec.Struct, frozen=True, rename="pascal"):
    """One statement of an IAM policy."""

    effect: str
    action: list[str]
    resource: str


class _Policy(msgspec.Struct, frozen=True, rename="pascal"):
    version: str
    statement: list[_Statement]


def _allow(actions: list[str], resource: str) -> _Statement:
    return _Statement(effect="Allow", action=actions, resource=f"arn:aws:s3:::{resource}")


async def _user(session: AioSession, where: dict[str, str], name: str, statements: list[_Statement]) -> Login:
    async with _client(session, "iam", where) as iam:
        await iam.create_user(UserName=name)
        policy = msgspec.json.encode(_Policy(version="2012-10-17", statement=statements)).decode()
        await iam.put_user_policy(UserName=name, PolicyName="bucket", PolicyDocument=policy)
        key = (await iam.create_access_key(UserName=name))["AccessKey"]
        return Login(key["AccessKeyId"], key["SecretAccessKey"])
