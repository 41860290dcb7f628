"""`vault-transit:v1`: secrets encrypted by the transit engine of HashiCorp Vault or OpenBao, whose key never leaves it.

The gateway asks it to encrypt and may not decrypt, a runner to decrypt. The plaintext is the one of `shared.sealing`,
so a ciphertext that was moved to another row opens to the wrong owner and is refused, whichever algorithm it has. A
box holds the text Vault gives (`vault:v1:…`) as it is; its key id is `mount/key`, so that it is known without asking
whether this service can open it. Vault's own versions of a key are Vault's business.

A service identifies itself by a token, or by an AppRole whose tokens are fetched here: before the last one ends, and
once more when Vault says that it no longer knows one. When Vault cannot be asked there is no secret: never another
form, never a value from before.

The calls themselves are the services': each gives a `Post` over its own HTTP client.
Sources: the HTTP API of `transit/encrypt`, `transit/decrypt` and `auth/approle/login`.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeVar

import msgspec
import structlog

from shared.deadline import Deadline
from shared.errors import SecretUnavailable
from shared.limits import VAULT_CALL_MAX_S, VAULT_TOKEN_LEFT_SHARE

ALGORITHM: Final = "vault-transit:v1"

_KEY_ID: Final = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_.-]+)*/[A-Za-z0-9_][A-Za-z0-9_.-]*")
_CIPHERTEXT: Final = re.compile(rb"vault:v[0-9]{1,9}:[A-Za-z0-9+/=]+")
_DEFAULT_APPROLE: Final = "approle"

Answer = TypeVar("Answer")

_log = structlog.get_logger("vault")


class VaultAwayError(Exception):
    """Vault could not be asked, or gave no whole answer. The text says which, never what was asked."""


class Post(Protocol):
    """One `POST` to Vault, bounded in time and size."""

    async def __call__(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Status and body. Raises `VaultAwayError`."""
        ...


class VaultLogin(msgspec.Struct, frozen=True, kw_only=True):
    """As whom Vault is asked, and for which key.

    Attributes:
        key_id: `mount/key`: of the transit engine, as boxes name it.
        token: a token; or none, and both of the following.
        role_id, secret_id: of an AppRole.
        approle_mount: where that authentication method is mounted.
        namespace: of Vault Enterprise or OpenBao; empty for the root.
    """

    key_id: str
    token: str | None = None
    role_id: str | None = None
    secret_id: str | None = None
    approle_mount: str = _DEFAULT_APPROLE
    namespace: str = ""

    def __repr__(self) -> str:
        return f"VaultLogin({self.key_id})"


def key_id(text: str) -> str:
    """`mount/key`, checked. Raises `ValueError` with what would be valid."""
    if not _KEY_ID.fullmatch(text) or ".." in text or len(text) > 256:
        raise ValueError("must be mount/key, for instance transit/alga-secrets")
    return text


class _Encrypt(msgspec.Struct, frozen=True):
    plaintext: str


class _Decrypt(msgspec.Struct, frozen=True):
    ciphertext: str


class _Role(msgspec.Struct, frozen=True):
    role_id: str
    secret_id: str


class _Encrypted(msgspec.Struct, frozen=True):
    data: _Decrypt


class _Decrypted(msgspec.Struct, frozen=True):
    data: _Encrypt


class _Auth(msgspec.Struct, frozen=True):
    client_token: str
    lease_duration: int = 0


class _LoggedIn(msgspec.Struct, frozen=True):
    auth: _Auth


class _Refusal(msgspec.Struct, frozen=True):
    errors: tuple[str, ...] = ()


class VaultTransit:
    """Encrypts and decrypts with one key of a transit engine.

    Args:
        login: as whom, and for which key.
        post: how Vault is reached.
        clock: monotonic seconds.
    """

    algorithm: Final = ALGORITHM

    def __init__(self, login: VaultLogin, post: Post, clock: Callable[[], float] = time.monotonic) -> None:
        self._login = login
        self._post = post
        self._clock = clock
        self._mount, _, self._key = login.key_id.rpartition("/")
        self._token = login.token
        self._fresh_until_s = float("inf") if login.token is not None else 0.0
        self._logging_in = asyncio.Lock()
        self.away = False

    @property
    def key_id(self) -> str:
        """The key that `encrypt` uses."""
        return self._login.key_id

    def knows(self, key: str) -> bool:
        """Whether boxes with this key id can be opened here."""
        return key == self._login.key_id

    async def encrypt(self, plaintext: bytes, deadline: Deadline) -> bytes:
        """The ciphertext as Vault writes it. Raises `SecretUnavailable`."""
        body = msgspec.json.encode(_Encrypt(base64.b64encode(plaintext).decode()))
        answer = await self._ask(f"/v1/{self._mount}/encrypt/{self._key}", body, _Encrypted, deadline)
        ciphertext = answer.data.ciphertext.encode()
        if not _CIPHERTEXT.fullmatch(ciphertext):
            raise SecretUnavailable("Vault's answer holds no ciphertext")
        return ciphertext

    async def decrypt(self, ciphertext: bytes, deadline: Deadline) -> bytes:
        """The plaintext of what `encrypt` made. Raises `SecretUnavailable`."""
        if not _CIPHERTEXT.fullmatch(ciphertext):
            raise SecretUnavailable("the box holds no ciphertext of Vault's")
        body = msgspec.json.encode(_Decrypt(ciphertext.decode()))
        answer = await self._ask(f"/v1/{self._mount}/decrypt/{self._key}", body, _Decrypted, deadline)
        try:
            return base64.b64decode(answer.data.plaintext, validate=True)
        except (binascii.Error, ValueError):
            raise SecretUnavailable("Vault's answer holds no plaintext") from None

    # ---- calls ----------------------------------------------------------------------------------------------

    async def _ask(self, path: str, body: bytes, kind: type[Answer], deadline: Deadline) -> Answer:
        try:
            async with asyncio.timeout(min(deadline.remaining_s(), VAULT_CALL_MAX_S)):
                token = await self._current_token()
                status, answer = await self._call(path, body, token)
                if status == 403 and self._login.token is None:
                    token = await self._current_token(instead_of=token)
                    status, answer = await self._call(path, body, token)
        except (VaultAwayError, TimeoutError) as error:
            self.away = True
            _log.warning("vault_away", error=str(error) or "no answer in time")
            raise SecretUnavailable("Vault cannot be asked right now", retry_after_s=1) from None
        self.away = status >= 500
        return _read(path, status, answer, kind)

    async def _call(self, path: str, body: bytes, token: str | None) -> tuple[int, bytes]:
        headers = {"content-type": "application/json", "x-vault-request": "true"}
        if token is not None:
            headers["x-vault-token"] = token
        if self._login.namespace:
            headers["x-vault-namespace"] = self._login.namespace
        return await self._post(path, headers, body)

    async def _current_token(self, instead_of: str | None = None) -> str:
        """A token that has not ended; another one than `instead_of`, which Vault refused."""
        if (token := self._usable(instead_of)) is not None:
            return token
        async with self._logging_in:  # one login for all who wait; whoever is cancelled lets the next one try
            if (token := self._usable(instead_of)) is not None:
                return token
            role = _Role(self._login.role_id or "", self._login.secret_id or "")
            path = f"/v1/auth/{self._login.approle_mount}/login"
            status, answer = await self._call(path, msgspec.json.encode(role), None)
            found = _read(path, status, answer, _LoggedIn).auth
            self._token = found.client_token
            # A lease of 0 never ends.
            lasts_s = found.lease_duration * (1 - VAULT_TOKEN_LEFT_SHARE) if found.lease_duration else float("inf")
            self._fresh_until_s = self._clock() + lasts_s
            return found.client_token

    def _usable(self, refused: str | None) -> str | None:
        fresh = self._token is not None and self._clock() < self._fresh_until_s
        return self._token if fresh and self._token != refused else None


def _read(path: str, status: int, answer: bytes, kind: type[Answer]) -> Answer:
    """The answer. Raises `SecretUnavailable`, which says what an operator has to look at; Vault's own words are logged."""
    if status == 200:
        try:
            return msgspec.json.decode(answer, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise SecretUnavailable("Vault's answer is not one") from None
    try:
        told = msgspec.json.decode(answer, type=_Refusal).errors
    except (msgspec.MsgspecError, UnicodeDecodeError):
        told = ()
    _log.warning("vault_refused", path=path, status=status, told=[word[:200] for word in told[:4]])
    if status >= 500 or status == 429:
        raise SecretUnavailable("Vault cannot answer right now", retry_after_s=1)
    if status in (401, 403):
        raise SecretUnavailable("Vault does not let this service use the key: check its policy and credential")
    raise SecretUnavailable("Vault refused: the key is not there, or the box was not made with it")
