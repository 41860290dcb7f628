"""Messages between gateway and runner: `POST /v1/execute`, `/v1/reseal`, `/v1/prepare`, the state feed.

Evolution rule: unknown fields are ignored by a server of the same major version; fields are added with a
default, never renamed, never reused. `tests/contract/` pins the bytes of every message.

JSON and MessagePack carry the same structure. Only bodies differ: JSON has `body_b64` (base64 text), MessagePack
has `body` (raw bytes). Inside the services a body is always `bytes | None`, whatever came over the wire.
"""

from __future__ import annotations

import base64
from typing import Any, Final, Literal

import msgspec

from shared.errors import InvalidRequest

JSON: Final = "application/json"
MSGPACK: Final = "application/msgpack"


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """Base of every wire struct: immutable, keyword-only (said again by each, since type checkers do not inherit it)."""


# ---- execute ------------------------------------------------------------------------------------------------


class Context(Message, frozen=True, kw_only=True):
    """Whose call this is. Ids are checked by `shared.ids` at the door."""

    request_id: str
    tenant_id: str
    extension_id: str
    install_id: str
    version_id: str
    content_hash: str
    config: dict[str, str] | None = None  # accepted from older callers; the top-level `config` wins


class Http(Message, frozen=True, kw_only=True):
    """The request as the guest will see it: never a scheme, never a host."""

    method: str
    path: str
    query: dict[str, str] = {}
    query_string: str | None = None
    headers: dict[str, str] = {}
    body_b64: str | None = None
    body: bytes | None = None


class Limits(Message, frozen=True, kw_only=True):
    """What this call may use; can only lower the runner's ceilings."""

    timeout_ms: int | None = None
    memory_mb: int | None = None
    fuel: int | None = None


class User(Message, frozen=True, kw_only=True):
    """The signed-in user on whose behalf the guest runs."""

    user_id: str
    user_email: str
    user_name: str
    user_type: Literal["internal", "client"]
    client_name: str = ""
    client_id: str | None = None
    additional_fields: dict[str, str] = {}


class SecretEnvelope(Message, frozen=True, kw_only=True):
    """One sealed secret: `ciphertext_b64` opens only with the runner's key `key_id`."""

    name: str = ""
    algorithm: str
    key_id: str
    version: str = ""
    expires_at: str | None = None
    ciphertext_b64: str
    hosts: tuple[str, ...] = ()


class ExecuteRequest(Message, frozen=True, kw_only=True):
    """`POST /v1/execute`.

    `provider_digests` says how the gateway knows those services of the host application that are granted; a runner that
    knows one otherwise does not run the call.
    """

    context: Context
    http: Http
    limits: Limits = Limits()
    config: dict[str, str] | None = None
    providers: tuple[str, ...] = ()
    egress: tuple[str, ...] = ()
    user: User | None = None
    secret_envelopes: tuple[SecretEnvelope, ...] = ()
    secret_envelope: SecretEnvelope | None = None
    provider_tokens: dict[str, str] = {}
    provider_digests: dict[str, str] = {}
    host_token: str | None = None
    debug: bool = False

    def install_config(self) -> dict[str, str]:
        """The install's settings, from either place (top level wins)."""
        if self.config is not None:
            return self.config
        return self.context.config or {}


class Usage(Message, frozen=True, kw_only=True):
    """What one execution cost. `memory_peak_bytes` is the sandbox's resident growth (approximate)."""

    duration_ms: float = 0.0
    queue_ms: float = 0.0
    cpu_ms: float = 0.0
    memory_peak_bytes: int = 0
    egress_bytes: int = 0
    host_calls: int = 0
    cold: bool = False


class ErrorBody(Message, frozen=True, kw_only=True):
    """Why there is no guest answer."""

    code: str
    message: str
    blame: Literal["caller", "guest", "host"]
    started: bool


class DeniedTarget(Message, frozen=True, kw_only=True):
    """Where a guest wanted to go and could not, for its administrator.

    Attributes:
        target: scheme, host and port, as an origin is written.
        reason: of `shared.egress.Reason`.
        times: in this execution.
        grantable: whether an entry of an allowlist would have allowed it.
        observed: it was let pass, as the operator only observes.
    """

    target: str
    reason: str
    times: int = 1
    grantable: bool = False
    observed: bool = False


class ExecuteResponse(Message, frozen=True, kw_only=True):
    """The answer of `POST /v1/execute`: a guest's answer, or `error` and no body.

    `incidents` are the codes of what was refused to the guest on the way, for the record: the guest saw less of it.
    `denied_targets` are the hosts among it; a refusal has them as well.
    """

    status: int
    headers: dict[str, str] = {}
    header_list: tuple[tuple[str, str], ...] = ()
    body_b64: str | None = None
    body: bytes | None = None
    error: ErrorBody | None = None
    usage: Usage = Usage()
    incidents: tuple[str, ...] = ()
    denied_targets: tuple[DeniedTarget, ...] = ()


# ---- reseal -------------------------------------------------------------------------------------------------


class ResealRequest(Message, frozen=True, kw_only=True):
    """`POST /v1/reseal`: the same secrets, sealed with the runner's key `to_key_id`."""

    envelopes: tuple[SecretEnvelope, ...]
    to_key_id: str


class ResealFailure(Message, frozen=True, kw_only=True):
    """An envelope that stays as it is: its place in the request, and why."""

    index: int
    code: str
    message: str


class ResealResponse(Message, frozen=True, kw_only=True):
    """The envelopes in the order of the request; `None` for each that is among the failures."""

    envelopes: tuple[SecretEnvelope | None, ...]
    failures: tuple[ResealFailure, ...] = ()


# ---- prepare ------------------------------------------------------------------------------------------------


class PrepareRequest(Message, frozen=True, kw_only=True):
    """`POST /v1/prepare`: make this digest runnable."""

    content_hash: str
    allow_unused_imports: bool = False


class SbomPackage(Message, frozen=True, kw_only=True):
    """One package that a bundle says it contains; `version` and `purl` may be empty."""

    name: str
    version: str = ""
    purl: str = ""


class Sbom(Message, frozen=True, kw_only=True):
    """What the bundle's SBOM says; the document itself, with this digest, stays in the archive under `path`."""

    format: Literal["spdx", "cyclonedx"]
    spec_version: str
    path: str
    sha256: str
    packages: tuple[SbomPackage, ...] = ()


class PrepareResponse(Message, frozen=True, kw_only=True):
    """What the compiler found in the bundle and whether native code now stands under `aot/`.

    Attributes:
        manifest: the bytes of `manifest.json`, base64 in JSON: what was signed is a digest of exactly these, so they
            are never written again on the way to whoever compares them (decision 0024).
        sbom: of the manifest's `sbom`; none when it names none.
    """

    content_hash: str
    component_sha256: str | None
    imports: tuple[str, ...]
    exports: tuple[str, ...]
    initial_memory_bytes: int
    sizes: dict[str, int]
    manifest: bytes
    artefact: Literal["compiled", "present", "none"]
    warnings: tuple[str, ...] = ()
    sbom: Sbom | None = None


# ---- state feed ---------------------------------------------------------------------------------------------

StateKind = Literal[
    "revoked_version",
    "revoked_key",
    "disabled_install",
    "enabled_install",
    "brake",
    "brake_released",
    "ui_live",
    "ui_gone",
]


class StateEntry(Message, frozen=True, kw_only=True):
    """One change everyone must know of.

    Attributes:
        subject: the id, key id or `extension_id/content_hash` it is about; of a brake what `shared.brakes` reads.
    """

    seq: int
    kind: StateKind
    subject: str


class StateFeed(Message, frozen=True, kw_only=True):
    """`GET /internal/state?after=N`: the entries after N in order; ask again from `last`."""

    entries: tuple[StateEntry, ...]
    last: int


# ---- codecs -------------------------------------------------------------------------------------------------

_execute_json = msgspec.json.Decoder(ExecuteRequest)
_execute_msgpack = msgspec.msgpack.Decoder(ExecuteRequest)
_answer_json = msgspec.json.Decoder(ExecuteResponse)
_answer_msgpack = msgspec.msgpack.Decoder(ExecuteResponse)
_json = msgspec.json.Encoder()
_msgpack = msgspec.msgpack.Encoder()


def _body_in(body: bytes | None, body_b64: str | None) -> bytes | None:
    if body is not None or body_b64 is None:
        return body
    try:
        return base64.b64decode(body_b64, validate=True)
    except ValueError as error:  # binascii.Error, or a plain one when the text is not ASCII
        raise InvalidRequest("body_b64 is not base64") from error


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def decode_execute(data: bytes, content_type: str) -> ExecuteRequest:
    """The request in `data`; its `http.body` holds the bytes whichever form they came in.

    Raises:
        InvalidRequest: not decodable (the message names the field), or a content type that is neither JSON nor
            MessagePack.
    """
    kind = _media_type(content_type)
    try:
        if kind == MSGPACK:
            request = _execute_msgpack.decode(data)
            body = _body_in(request.http.body, request.http.body_b64)
        elif kind == JSON:
            request = _execute_json.decode(data)
            body = _body_in(None, request.http.body_b64)
        else:
            raise InvalidRequest(f"content-type must be {JSON} or {MSGPACK}")
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"the request is not decodable: {error}") from error
    except RecursionError as error:  # fields we ignore are skipped by descending into them
        raise InvalidRequest("the request is nested too deeply") from error
    return msgspec.structs.replace(request, http=msgspec.structs.replace(request.http, body=body, body_b64=None))


def encode_execute(request: ExecuteRequest, content_type: str = MSGPACK) -> bytes:
    """The bytes of a request whose `http.body` holds the body."""
    if content_type == MSGPACK:
        return _msgpack.encode(_without(request, "body_b64"))
    return _json.encode(_without(request, "body"))


def encode_answer(answer: ExecuteResponse, content_type: str) -> bytes:
    """The bytes of an answer whose `body` holds the body, in the request's content type."""
    if content_type == MSGPACK:
        return _msgpack.encode(_answer_fields(answer, "body_b64"))
    return _json.encode(_answer_fields(answer, "body"))


def decode_answer(data: bytes, content_type: str) -> ExecuteResponse:
    """The answer in `data`, body in `body`. Raises `msgspec.MsgspecError` when it is not one: then the runner, not
    the caller, is at fault.
    """
    try:
        if _media_type(content_type) == MSGPACK:
            return _answer_msgpack.decode(data)
        answer = _answer_json.decode(data)
        body = _body_in(answer.body, answer.body_b64)
    except (InvalidRequest, RecursionError, UnicodeDecodeError) as error:
        raise msgspec.ValidationError(f"the answer is not decodable: {error}") from error
    return msgspec.structs.replace(answer, body=body, body_b64=None)


def _without(request: ExecuteRequest, drop: str) -> dict[str, Any]:
    fields = _shallow(request)
    fields["http"] = _fields(request.http, drop)
    if not request.provider_digests:
        del fields["provider_digests"]  # most calls have none, and older runners never saw the field
    return fields


def _answer_fields(answer: ExecuteResponse, drop: str) -> dict[str, Any]:
    fields = _fields(answer, drop)
    if not answer.incidents:
        del fields["incidents"]  # most answers have none, and older callers never saw the field
    if not answer.denied_targets:
        del fields["denied_targets"]  # likewise
    return fields


def _shallow(message: Message) -> dict[str, Any]:
    return {name: getattr(message, name) for name in message.__struct_fields__}


def _fields(message: Http | ExecuteResponse, drop: str) -> dict[str, Any]:
    fields = _shallow(message)
    if drop == "body" and message.body is not None:
        fields["body_b64"] = base64.b64encode(message.body).decode()
    del fields[drop]
    return fields
