"""The messages between the services: pinned bytes, both encodings, older callers, and hostile ones.

The golden files under `tests/contract/golden/wire` are what other systems send and expect. When this test fails, the
change breaks them: add a field with a default instead, and add its line to the golden files.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import wire
from shared.errors import InvalidRequest
from shared.wire import JSON, MSGPACK

GOLDEN = Path(__file__).parent.parent / "contract" / "golden" / "wire"
HASH = f"sha256:{'ab' * 32}"
BODY = b"\x00\xffbody"

CONTEXT = wire.Context(
    request_id="r-1",
    tenant_id="acme",
    extension_id="018f3f2e-7b1a-7c3d-9e4f-000000000001",
    install_id="018f3f2e-7b1a-7c3d-9e4f-000000000002",
    version_id="018f3f2e-7b1a-7c3d-9e4f-000000000003",
    content_hash=HASH,
)
USER = wire.User(
    user_id="u-1",
    user_email="a@acme.example",
    user_name="Ada",
    user_type="client",
    client_name="Globex",
    client_id="c-1",
    additional_fields={"role": "admin"},
)
ENVELOPE = wire.SecretEnvelope(
    name="api_key",
    algorithm="nacl-sealed:v1",
    key_id="0011223344556677",
    version="1",
    expires_at="2030-01-01T00:00:00Z",
    ciphertext_b64="AAEC",
    hosts=("api.example.com",),
)
REQUEST = wire.ExecuteRequest(
    context=CONTEXT,
    http=wire.Http(
        method="POST",
        path="/agreements/sync",
        query={"force": "true"},
        query_string="force=true",
        headers={"content-type": "application/json"},
        body=BODY,
    ),
    limits=wire.Limits(timeout_ms=5000, memory_mb=64, fuel=None),
    config={"region": "emea"},
    providers=("cap:context.read", "cap:http.fetch"),
    egress=("https://api.example.com",),
    user=USER,
    secret_envelopes=(ENVELOPE,),
    provider_tokens={"ui-proxy": "t"},
    host_token="h",
    debug=True,
)
ANSWER = wire.ExecuteResponse(
    status=201,
    headers={"content-type": "text/plain", "x-ext-app-a": "1, 2"},
    header_list=(("content-type", "text/plain"), ("x-ext-app-a", "1"), ("x-ext-app-a", "2")),
    body=BODY,
    usage=wire.Usage(
        duration_ms=12.5,
        queue_ms=0.5,
        cpu_ms=3.25,
        memory_peak_bytes=1_048_576,
        egress_bytes=10,
        host_calls=2,
        cold=True,
    ),
)
REFUSAL = wire.ExecuteResponse(
    status=504,
    error=wire.ErrorBody(
        code="guest_timeout", message="The extension did not answer in time", blame="guest", started=True
    ),
)
WITH_PROVIDERS = msgspec.structs.replace(REQUEST, provider_digests={"clients": "75e9516cdd9b5c96"})
WITH_INCIDENTS = msgspec.structs.replace(ANSWER, incidents=("secret_expired", "secret_host_mismatch"))
MS = wire.SbomPackage(name="ms", version="2.1.3", purl="pkg:npm/ms@2.1.3")
SBOM = wire.Sbom(format="spdx", spec_version="2.3", path="sbom.json", sha256="ef" * 32, packages=(MS,))
PREPARED = wire.PrepareResponse(
    content_hash=HASH,
    component_sha256="cd" * 32,
    imports=("alga:extension/http",),
    exports=("handler",),
    initial_memory_bytes=65_536,
    sizes={"dist/main.wasm": 100},
    manifest=b'{"name": "acme.hello"}\n',
    artefact="compiled",
    warnings=("a capability is declared but not used",),
    sbom=SBOM,
)
FEED = wire.StateFeed(
    entries=(
        wire.StateEntry(seq=6, kind="revoked_version", subject="v-1"),
        wire.StateEntry(seq=7, kind="brake", subject="all"),
    ),
    last=7,
)
PREPARE = wire.PrepareRequest(content_hash=HASH, allow_unused_imports=True)

BYTES = {
    "execute_request.json": wire.encode_execute(REQUEST, JSON),
    "execute_request.msgpack": wire.encode_execute(REQUEST, MSGPACK),
    "execute_request_providers.json": wire.encode_execute(WITH_PROVIDERS, JSON),
    "execute_request_providers.msgpack": wire.encode_execute(WITH_PROVIDERS, MSGPACK),
    "execute_answer.json": wire.encode_answer(ANSWER, JSON),
    "execute_answer.msgpack": wire.encode_answer(ANSWER, MSGPACK),
    "execute_answer_incidents.json": wire.encode_answer(WITH_INCIDENTS, JSON),
    "execute_answer_incidents.msgpack": wire.encode_answer(WITH_INCIDENTS, MSGPACK),
    "execute_refusal.json": wire.encode_answer(REFUSAL, JSON),
    "execute_refusal.msgpack": wire.encode_answer(REFUSAL, MSGPACK),
    "prepare_request.json": msgspec.json.encode(PREPARE),
    "prepare_response.json": msgspec.json.encode(PREPARED),
    "state_feed.json": msgspec.json.encode(FEED),
}


def request_dict(**changes):
    """The documented JSON form, as another system would write it."""
    message = json.loads(BYTES["execute_request.json"])
    message.update(changes)
    return message


def decode(message, content_type=JSON):
    encode = msgspec.json.encode if content_type == JSON else msgspec.msgpack.encode
    return wire.decode_execute(encode(message), content_type)


# ---- pinned -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BYTES)
def test_the_bytes_of_each_message_are_pinned(name):
    golden = (GOLDEN / name).read_bytes()
    if name.endswith(".json"):
        assert json.loads(BYTES[name]) == json.loads(golden)  # tells the difference in words first
    assert BYTES[name] == golden


@pytest.mark.parametrize("name", ["execute_request.json", "execute_request.msgpack"])
def test_pinned_requests_are_read(name):
    content_type = JSON if name.endswith("json") else MSGPACK
    assert wire.decode_execute((GOLDEN / name).read_bytes(), content_type) == REQUEST


@pytest.mark.parametrize(
    ("name", "answer"),
    [("execute_answer", ANSWER), ("execute_answer_incidents", WITH_INCIDENTS), ("execute_refusal", REFUSAL)],
)
def test_pinned_answers_are_read(name, answer):
    assert wire.decode_answer((GOLDEN / f"{name}.json").read_bytes(), JSON) == answer
    assert wire.decode_answer((GOLDEN / f"{name}.msgpack").read_bytes(), MSGPACK) == answer


def test_pinned_prepare_and_feed_are_read():
    assert msgspec.json.decode((GOLDEN / "prepare_request.json").read_bytes(), type=wire.PrepareRequest) == PREPARE
    assert msgspec.json.decode((GOLDEN / "prepare_response.json").read_bytes(), type=wire.PrepareResponse) == PREPARED
    assert msgspec.json.decode((GOLDEN / "state_feed.json").read_bytes(), type=wire.StateFeed) == FEED


@pytest.mark.parametrize("content_type", [JSON, MSGPACK])
def test_a_request_without_services_of_the_host_application_has_no_such_field(content_type):
    decode_any = json.loads if content_type == JSON else msgspec.msgpack.decode
    assert "provider_digests" not in decode_any(wire.encode_execute(REQUEST, content_type))
    sent = wire.encode_execute(WITH_PROVIDERS, content_type)
    assert wire.decode_execute(sent, content_type).provider_digests == WITH_PROVIDERS.provider_digests


@pytest.mark.parametrize("content_type", [JSON, MSGPACK])
def test_an_answer_without_incidents_has_no_such_field(content_type):
    decode_any = json.loads if content_type == JSON else msgspec.msgpack.decode
    assert "incidents" not in decode_any(wire.encode_answer(ANSWER, content_type))
    assert decode_any(wire.encode_answer(WITH_INCIDENTS, content_type))["incidents"] == list(WITH_INCIDENTS.incidents)


def test_json_has_a_body_in_base64_and_messagepack_has_it_raw():
    as_json, as_msgpack = (
        json.loads(BYTES["execute_request.json"]),
        msgspec.msgpack.decode(BYTES["execute_request.msgpack"]),
    )
    assert (as_json["http"]["body_b64"], "body" in as_json["http"]) == (base64.b64encode(BODY).decode(), False)
    assert (as_msgpack["http"]["body"], "body_b64" in as_msgpack["http"]) == (BODY, False)
    as_json, as_msgpack = (
        json.loads(BYTES["execute_answer.json"]),
        msgspec.msgpack.decode(BYTES["execute_answer.msgpack"]),
    )
    assert (as_json["body_b64"], "body" in as_json) == (base64.b64encode(BODY).decode(), False)
    assert (as_msgpack["body"], "body_b64" in as_msgpack) == (BODY, False)
    assert as_json["error"] is as_msgpack["error"] is None


# ---- older and newer callers --------------------------------------------------------------------------------


@pytest.mark.parametrize("content_type", [JSON, MSGPACK])
def test_unknown_fields_are_ignored_everywhere(content_type):
    message = request_dict(later={"deep": [1, None]})
    for inner in ("context", "http", "limits", "user"):
        message[inner]["later"] = 1
    message["secret_envelopes"][0]["later"] = True
    assert decode(message, content_type) == REQUEST


@pytest.mark.parametrize("content_type", [JSON, MSGPACK])
def test_the_smallest_request_is_enough(content_type):
    message = {
        "context": {name: getattr(CONTEXT, name) for name in CONTEXT.__struct_fields__ if name != "config"},
        "http": {"method": "GET", "path": "/"},
    }
    request = decode(message, content_type)
    assert request.install_config() == {}
    assert (request.providers, request.egress, request.user, request.http.body) == ((), (), None, None)
    assert request.limits == wire.Limits(timeout_ms=None, memory_mb=None, fuel=None)


def test_the_settings_of_an_install_may_stand_in_the_context_and_the_top_level_wins():
    older = request_dict(config=None)
    older["context"]["config"] = {"region": "apac"}
    assert decode(older).install_config() == {"region": "apac"}
    both = request_dict(config={"region": "emea"})
    both["context"]["config"] = {"region": "apac"}
    assert decode(both).install_config() == {"region": "emea"}
    both["config"] = {}
    assert decode(both).install_config() == {}


def test_a_single_secret_envelope_is_accepted():
    older = request_dict(
        secret_envelopes=[], secret_envelope={"algorithm": "nacl-sealed:v1", "key_id": "k", "ciphertext_b64": "AAEC"}
    )
    assert decode(older).secret_envelope == wire.SecretEnvelope(
        algorithm="nacl-sealed:v1", key_id="k", ciphertext_b64="AAEC"
    )


def test_a_messagepack_body_in_the_json_form_is_not_lost():
    message = request_dict()
    assert decode(message, MSGPACK).http.body == BODY
    message["http"]["body"] = b"raw"
    assert decode(message, MSGPACK).http.body == b"raw"


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=utf-8", " application/json ;x=y"]
)
def test_a_content_type_is_compared_without_its_parameters(content_type):
    assert wire.decode_execute(BYTES["execute_request.json"], content_type) == REQUEST


# ---- refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/x-msgpack", "application/json5", "application"]
)
def test_any_other_content_type_is_refused_with_the_two_that_are_spoken(content_type):
    with pytest.raises(InvalidRequest, match=r"application/json or application/msgpack"):
        wire.decode_execute(BYTES["execute_request.json"], content_type)


@pytest.mark.parametrize("body_b64", ["A", "AA=", "A===", "AAAA\n", " AAAA", "AA-_", "ä", "A\x00AA"])
@pytest.mark.parametrize("content_type", [JSON, MSGPACK])
def test_a_body_that_is_no_base64_is_refused(body_b64, content_type):
    message = request_dict()
    message["http"]["body_b64"] = body_b64
    with pytest.raises(InvalidRequest, match="body_b64 is not base64"):
        decode(message, content_type)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"context": None}, r"\$\.context"),
        ({"http": {"method": "GET"}}, "path"),
        ({"providers": "cap:http.fetch"}, r"\$\.providers"),
        ({"limits": {"timeout_ms": "5000"}}, r"\$\.limits\.timeout_ms"),
        ({"user": {"user_id": 1}}, r"\$\.user"),
        ({"user": {**msgspec.to_builtins(USER), "user_type": "root"}}, r"\$\.user\.user_type"),
        ({"debug": "yes"}, r"\$\.debug"),
        ({"config": {"a": 1}}, r"\$\.config"),
    ],
)
def test_a_wrong_field_is_named(changes, field):
    with pytest.raises(InvalidRequest, match=field):
        decode(request_dict(**changes))


@pytest.mark.parametrize("data", [b"", b"{", b"null", b"[]", b'"x"', b'{"context": "\xff"}', b"{} {}"])
@pytest.mark.parametrize("content_type", [JSON, MSGPACK])
def test_what_is_not_a_request_is_refused(data, content_type):
    with pytest.raises(InvalidRequest):
        wire.decode_execute(data, content_type)


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (b'{"later":' + b"[" * 100_000 + b"]" * 100_000 + b"}", JSON),
        (b"\x81\xa5later" + b"\x91" * 100_000 + b"\x90", MSGPACK),
    ],
)
def test_a_bottomless_field_is_refused_even_where_it_would_be_ignored(data, content_type):
    with pytest.raises(InvalidRequest, match="nested too deeply"):
        wire.decode_execute(data, content_type)


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (b"", JSON),
        (b"<html>", JSON),
        (b"{}", JSON),
        (b'{"status": 200, "body_b64": "A"}', JSON),
        (b'{"status": 200, "error": {"code": "x", "message": "y", "blame": "nobody", "started": false}}', JSON),
        (b'{"status": 200, "headers": {"a": "\xff"}}', JSON),
        (b"\xc1", MSGPACK),
        (b"\x81\xa6status\xa1x", MSGPACK),
        (b"[" * 100_000, JSON),
        (b'{"x":' + b"[" * 100_000, JSON),
    ],
)
def test_an_answer_that_is_none_blames_the_runner_and_not_the_caller(data, content_type):
    with pytest.raises(msgspec.MsgspecError):
        wire.decode_answer(data, content_type)


# ---- properties ---------------------------------------------------------------------------------------------

TEXT = st.text(max_size=10)
TEXTS = st.dictionaries(TEXT, TEXT, max_size=3)
BODIES = st.none() | st.binary(max_size=50)
REQUESTS = st.builds(
    wire.ExecuteRequest,
    context=st.builds(
        wire.Context,
        **dict.fromkeys(("request_id", "tenant_id", "extension_id", "install_id", "version_id", "content_hash"), TEXT),
    ),
    http=st.builds(
        wire.Http, method=TEXT, path=TEXT, query=TEXTS, query_string=st.none() | TEXT, headers=TEXTS, body=BODIES
    ),
    config=st.none() | TEXTS,
    providers=st.lists(TEXT, max_size=3).map(tuple),
    provider_tokens=TEXTS,
    debug=st.booleans(),
)
ANSWERS = st.builds(
    wire.ExecuteResponse,
    status=st.integers(100, 599),
    headers=TEXTS,
    header_list=st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple),
    body=BODIES,
)


@given(REQUESTS, st.sampled_from([JSON, MSGPACK]))
def test_a_request_comes_out_as_it_went_in(request, content_type):
    assert wire.decode_execute(wire.encode_execute(request, content_type), content_type) == request


@given(ANSWERS, st.sampled_from([JSON, MSGPACK]))
def test_an_answer_comes_out_as_it_went_in(answer, content_type):
    assert wire.decode_answer(wire.encode_answer(answer, content_type), content_type) == answer


@given(st.binary(), st.sampled_from([JSON, MSGPACK]))
def test_no_bytes_do_worse_than_be_refused(data, content_type):
    with pytest.raises(InvalidRequest):
        wire.decode_execute(data, content_type)


@given(st.integers(0, len(BYTES["execute_request.msgpack"]) - 1), st.integers(0, 255))
def test_a_flipped_byte_is_another_request_or_a_refusal(at, byte):
    for name, content_type in (("execute_request.json", JSON), ("execute_request.msgpack", MSGPACK)):
        data = bytearray(BYTES[name])
        data[at % len(data)] = byte
        try:
            wire.decode_execute(bytes(data), content_type)
        except InvalidRequest:
            continue
