"""The envelope says of tenant, install and grants only what the platform found out; the request adds the request."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.identity.principal import Principal
from gateway.installs.resolved import ResolvedInstall
from gateway.policy.endpoints import Endpoint, Match
from gateway.proxy import envelope, failures, record, trace
from gateway.proxy.admission import Admitted
from gateway.proxy.answer import from_reply
from gateway.proxy.client import Reply
from gateway.proxy.envelope import Incoming
from gateway.proxy.tokens import TokenMint
from shared import errors
from shared.ids import TenantId
from shared.keys import PrivateKey
from shared.provider_files import shipped
from shared.tokens import HostClaims, Verifier
from shared.wire import (
    MSGPACK,
    ErrorBody,
    ExecuteResponse,
    SecretEnvelope,
    Usage,
    decode_execute,
    encode_execute,
)

MINT = TokenMint(PrivateKey(b"g" * 32), lambda: 1000.0)
INSTALL = ResolvedInstall(
    tenant_id="acme",
    install_id="00000000-0000-4000-8000-000000000002",
    extension_id="00000000-0000-4000-8000-000000000001",
    version_id="00000000-0000-4000-8000-000000000003",
    publisher="acme",
    name="com.acme.notes",
    version="1.0.0",
    content_hash="sha256:" + "ab" * 32,
    capabilities=("cap:context.read", "cap:ui.proxy"),
    egress=("https://api.example.com",),
    config={"region": "emea"},
    config_version=4,
    secrets=(SecretEnvelope(name="key", algorithm="nacl-sealed:v1", key_id="k", ciphertext_b64="AA=="),),
    secrets_version=9,
    memory_mb=32,
    timeout_ms=3000,
    debug=True,
)
USER = Principal(
    tenant_id=TenantId("acme"),
    subject="u1",
    kind="session",
    permissions=frozenset({"extension:read"}),
    email="u@example.com",
    name="U",
)
INCOMING = Incoming(
    request_id="req-1",
    method="POST",
    path="/sync",
    query={"force": "true"},
    query_string="force=true",
    headers=((b"content-type", b"text/plain"), (b"authorization", b"Bearer x"), (b"x-tenant-id", b"globex")),
    body=b"hi",
)


def test_the_envelope_carries_everything_a_call_needs() -> None:
    asked = envelope.build(INCOMING, USER, INSTALL, timeout_ms=2000, tokens=MINT)
    over_the_wire = decode_execute(encode_execute(asked, MSGPACK), MSGPACK)
    plain = msgspec.json.decode(msgspec.json.encode(over_the_wire))
    assert isinstance(plain.pop("host_token"), str)
    assert set(plain.pop("provider_tokens")) == {"ui-proxy"}
    assert plain == {
        "context": {
            "request_id": "req-1",
            "tenant_id": "acme",
            "extension_id": INSTALL.extension_id,
            "install_id": INSTALL.install_id,
            "version_id": INSTALL.version_id,
            "content_hash": INSTALL.content_hash,
            "config": None,
        },
        "http": {
            "method": "POST",
            "path": "/sync",
            "query": {"force": "true"},
            "query_string": "force=true",
            "headers": {
                "content-type": "text/plain",
                "x-request-id": "req-1",
                "x-alga-tenant": "acme",
                "x-alga-extension": INSTALL.extension_id,
            },
            "body_b64": None,
            "body": "aGk=",
        },
        "limits": {"timeout_ms": 2000, "memory_mb": 32, "fuel": None},
        "config": {"region": "emea"},
        "providers": ["cap:context.read", "cap:ui.proxy"],
        "egress": ["https://api.example.com"],
        "user": {
            "user_id": "u1",
            "user_email": "u@example.com",
            "user_name": "U",
            "user_type": "internal",
            "client_name": "",
            "client_id": None,
            "additional_fields": {},
        },
        "secret_envelopes": [msgspec.json.decode(msgspec.json.encode(INSTALL.secrets[0]))],
        "secret_envelope": None,
        "provider_digests": {},
        "debug": True,
    }


def test_a_head_request_reaches_the_guest_as_a_get() -> None:
    head = msgspec.structs.replace(INCOMING, method="HEAD", body=None)
    assert envelope.build(head, USER, INSTALL, timeout_ms=1, tokens=MINT).http.method == "GET"


def test_a_granted_service_of_the_host_application_brings_its_token_with_the_user_and_how_it_is_known_here() -> None:
    granted = msgspec.structs.replace(INSTALL, capabilities=("cap:client.read", "cap:context.read"))
    asked = envelope.build(INCOMING, USER, granted, timeout_ms=2000, tokens=MINT)
    assert asked.provider_digests == {"clients": shipped().digests["clients"]}
    (token,) = asked.provider_tokens.values()
    claims = Verifier([PrivateKey(b"g" * 32).public], {"provider:clients"}, lambda: 1000.0).verify(token, HostClaims)
    assert (claims.sub, claims.user_type, claims.client_id) == ("u1", "internal", "")


def test_an_api_key_is_no_user() -> None:
    key = msgspec.structs.replace(USER, kind="api_key")
    assert envelope.build(INCOMING, key, INSTALL, timeout_ms=1, tokens=MINT).user is None


def test_the_routing_headers_agree_with_the_envelope() -> None:
    headers = envelope.routing_headers(INCOMING, INSTALL)
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", headers.pop("traceparent"))
    assert headers == {
        "x-request-id": "req-1",
        "x-alga-tenant": "acme",
        "x-alga-extension": INSTALL.extension_id,
        "x-ext-config-version": "4",
        "x-ext-secrets-version": "9",
    }


@pytest.mark.parametrize(
    ("platform", "manifest", "endpoint", "least"),
    [
        (5000, None, None, 5000),
        (5000, 3000, None, 3000),
        (5000, 3000, 2000, 2000),
        (5000, 30_000, 30_000, 5000),
        (1000, 3000, 2000, 1000),
        (5000, None, 100, 100),
    ],
)
def test_the_least_timeout_counts(platform: int, manifest: int | None, endpoint: int | None, least: int) -> None:
    install = msgspec.structs.replace(INSTALL, timeout_ms=manifest)
    declared = Endpoint(method="GET", path="/", timeout_ms=endpoint)
    assert envelope.effective_timeout_ms(platform, install, Match("GET /", declared)) == least
    if endpoint is None:
        assert envelope.effective_timeout_ms(platform, install, Match("undeclared", None)) == least


def test_a_valid_trace_goes_on_under_a_new_span() -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    found = trace.child(parent)
    assert found.startswith("00-0af7651916cd43dd8448eb211c80319c-")
    assert found.endswith("-01")
    assert "b7ad6b7169203331" not in found


@given(st.one_of(st.none(), st.text(max_size=60)))
def test_whatever_arrives_a_valid_trace_leaves(text: str | None) -> None:
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", trace.child(text))


@pytest.mark.parametrize("code", sorted(errors.BY_CODE))
def test_guest_and_host_codes_pass_and_caller_codes_become_bad_gateway(code: str) -> None:
    kind = errors.BY_CODE[code]
    passed = not issubclass(kind, errors.CallerError) or kind is errors.TenantOverConcurrency
    found = failures.to_error(
        ErrorBody(code=code, message="why", blame=kind.blame.value, started=False), retry_after_s=3
    )
    assert found.code == (code if passed else "bad_gateway")
    assert found.status == (kind.status if passed else 502)
    assert found.started is False
    if passed:
        assert (found.detail, found.retry_after_s) == ("why", 3)
    else:
        assert "why" not in found.detail


def test_a_code_of_a_newer_runner_is_a_bad_gateway() -> None:
    body = ErrorBody(code="not_invented_yet", message="x", blame="host", started=True)
    assert failures.to_error(body, None).code == "bad_gateway"


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (errors.GuestTimeout(), "guest_timeout"),
        (errors.GuestTrapped(), "guest_error"),
        (errors.GuestAborted(), "guest_error"),
        (errors.ComponentInvalid(), "guest_error"),
        (errors.TenantOverConcurrency(), "denied"),
        (errors.Revoked(), "denied"),
        (errors.BadGateway(), "upstream_error"),
        (errors.GatewayTimeout(), "upstream_error"),
        (errors.Overloaded(), "upstream_error"),
        (errors.Internal(), "upstream_error"),
    ],
)
def test_every_end_has_its_terminal_state(error: errors.PlatformError, state: str) -> None:
    assert failures.terminal_state(error) == state
    closing = record.refused(error, 5.0, Usage(cpu_ms=2.0))
    assert (closing.state, closing.http_status, closing.code, closing.blame) == (
        state,
        error.status,
        error.code,
        error.blame.value,
    )
    assert closing.cpu_ms == 2.0


def test_the_row_names_the_template_never_the_path() -> None:
    declared = Endpoint(method="POST", path="/:secret")
    row = record.opening(Admitted(USER, INSTALL, Match("POST /:secret", declared), INCOMING), 2000)
    assert (row.endpoint, row.method, row.principal, row.principal_kind) == ("/:secret", "POST", "user:u1", "session")
    undeclared = record.opening(Admitted(USER, INSTALL, Match("undeclared", None), INCOMING), 2000)
    assert undeclared.endpoint == ""
    assert "/sync" not in repr(undeclared)
    assert "Bearer" not in repr(undeclared)


def test_a_reply_becomes_a_filtered_answer() -> None:
    reply = Reply(
        ExecuteResponse(
            status=201,
            header_list=(("Content-Type", "text/html"), ("Set-Cookie", "a=b"), ("X-Ext-App-Page", "2")),
            body=b"<p>",
        )
    )
    answer = from_reply(reply)
    assert (answer.status, answer.body) == (201, b"<p>")
    names = [name for name, _ in answer.headers]
    assert b"set-cookie" not in names
    assert (b"x-ext-app-page", b"2") in answer.headers


def test_headers_of_an_older_runner_are_taken_from_the_dictionary() -> None:
    answer = from_reply(Reply(ExecuteResponse(status=200, headers={"content-type": "text/plain"}, body=b"x")))
    assert (b"content-type", b"text/plain") in answer.headers


@pytest.mark.parametrize("status", [204, 205, 304])
def test_a_status_without_a_body_loses_the_guests_bytes(status: int) -> None:
    assert from_reply(Reply(ExecuteResponse(status=status, body=b"x"))).body == b""


@pytest.mark.parametrize("status", [101, 600])
def test_a_status_that_is_no_answer_is_the_guests_fault(status: int) -> None:
    with pytest.raises(errors.GuestResponseInvalid):
        from_reply(Reply(ExecuteResponse(status=status)))
