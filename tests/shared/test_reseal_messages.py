"""What is said between gateway and runner while secrets move to another key: pinned bytes, defaults, bad input."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from shared.wire import ResealFailure, ResealRequest, ResealResponse, SecretEnvelope

GOLDEN = Path(__file__).parent.parent / "contract" / "golden" / "wire"
OLD, NEW = "0011223344556677", "8899aabbccddeeff"
ENVELOPE = SecretEnvelope(
    algorithm="nacl-sealed:v1",
    key_id=OLD,
    ciphertext_b64="AAEC",
    name="api_key",
    version="1",
    expires_at="2030-01-01T00:00:00Z",
    hosts=("api.example.com",),
)
RESEAL = ResealRequest(envelopes=(ENVELOPE,), to_key_id=NEW)
RESEALED = ResealResponse(
    envelopes=(msgspec.structs.replace(ENVELOPE, key_id=NEW, ciphertext_b64="AwQF"), None),
    failures=(ResealFailure(index=1, code="secret_unavailable", message="A secret cannot be opened here"),),
)


@pytest.mark.parametrize(("name", "message"), [("reseal_request", RESEAL), ("reseal_response", RESEALED)])
def test_the_messages_have_the_pinned_bytes_and_are_read_from_them(
    name: str, message: ResealRequest | ResealResponse
) -> None:
    golden = (GOLDEN / f"{name}.json").read_bytes()
    assert msgspec.json.encode(message) == golden
    assert msgspec.json.decode(golden, type=type(message)) == message


def test_an_answer_in_which_nothing_failed_need_not_say_so() -> None:
    assert msgspec.json.decode(b'{"envelopes":[null]}', type=ResealResponse) == ResealResponse(envelopes=(None,))


@pytest.mark.parametrize(
    "body",
    [b"{}", b'{"envelopes":[]}', b'{"envelopes":[null],"to_key_id":"a"}', b'{"envelopes":{},"to_key_id":"a"}'],
)
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=ResealRequest)
