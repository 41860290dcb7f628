"""Secrets on the way out: where they are put in, what is refused, and that they do not come back."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.egress.http1 import Answer
from runner.egress.inject import Injected, inject, redacted, without_secrets
from shared.egress import Denied, Reason
from shared.egress_url import Target, parse_url
from shared.limits import EGRESS_HEADER_BLOCK_MAX_BYTES, SECRET_VALUE_MAX_BYTES
from tests.runner.egress.outside import outside, private
from tests.runner.egress.upstream import Received, Upstream, always, answer

TARGET = parse_url("https://api.example.com/")
VALUE = 'canary/value+"ä"'


class Known:
    """Secrets bound to whatever is asked for."""

    def __init__(self, **values: str) -> None:
        self.values = values
        self.asked: list[str] = []

    async def inject(self, name: str, target: Target) -> str | Denied:
        self.asked.append(name)
        return self.values.get(name) or Denied(Reason.SECRET, f"no secret {name!r} is set for this install")


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("{{secret:key}}", VALUE),
        ("Bearer {{secret:key}}", f"Bearer {VALUE}"),
        ("{{secret:key}}:{{secret:other}}", f"{VALUE}:second-value"),
        ("{{secret:key}}{{secret:key}}", VALUE * 2),
        ("{{ secret:key }}", "{{ secret:key }}"),
        ("{secret:key}", "{secret:key}"),
        ("{{{secret:key}}}", "{" + VALUE + "}"),
        ("{{secret:{key}}}", "{{secret:{key}}}"),
        ("plain", "plain"),
    ],
)
async def test_a_place_is_filled_and_what_only_looks_like_one_is_left(text: str, sent: str) -> None:
    filled = await inject((("x-key", text),), TARGET, Known(key=VALUE, other="second-value"))
    assert isinstance(filled, Injected)
    assert filled.headers == (("x-key", sent),)


async def test_a_value_that_looks_like_a_place_is_not_filled_again() -> None:
    secrets = Known(key="{{secret:other}}", other="second-value")
    filled = await inject((("x-key", "{{secret:key}}"),), TARGET, secrets)
    assert isinstance(filled, Injected)
    assert filled.headers == (("x-key", "{{secret:other}}"),)
    assert secrets.asked == ["key"]


async def test_names_of_headers_have_no_places() -> None:
    filled = await inject((("{{secret:key}}", "x"),), TARGET, Known(key=VALUE))
    assert filled == Injected((("{{secret:key}}", "x"),))


@pytest.mark.parametrize("value", ["a\r\nX-Injected: 1", "line\n", "a\0", "a\x7f"])
async def test_a_value_that_would_break_the_header_is_refused_without_being_told(value: str) -> None:
    denied = await inject((("x-key", "{{secret:key}}"),), TARGET, Known(key=value))
    assert isinstance(denied, Denied)
    assert denied.reason is Reason.SECRET
    assert "control character" in denied.detail
    assert value not in denied.detail


@pytest.mark.parametrize("extra", [-1, 0, 1])
async def test_headers_with_their_values_below_at_and_above_the_limit(extra: int) -> None:
    places = "{{secret:key}}" * 100
    value = "v" * ((EGRESS_HEADER_BLOCK_MAX_BYTES - 5 - 64) // 100)
    padding = "p" * (EGRESS_HEADER_BLOCK_MAX_BYTES - 5 - 100 * len(value) + extra)
    filled = await inject((("x", places + padding),), TARGET, Known(key=value))
    if extra > 0:
        assert isinstance(filled, Denied)
        assert filled.reason is Reason.HEADER_INVALID
    else:
        assert isinstance(filled, Injected)
        assert len(filled.headers[0][1]) == EGRESS_HEADER_BLOCK_MAX_BYTES - 5 + extra


async def test_many_places_do_not_become_many_megabytes() -> None:
    headers = (("x", "{{secret:key}}" * 4000),)
    denied = await inject(headers, TARGET, Known(key="v" * SECRET_VALUE_MAX_BYTES))
    assert isinstance(denied, Denied)


async def test_without_secrets_a_place_is_denied_with_a_reason_and_nothing_is_sent() -> None:
    async with Upstream() as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        assert await out.get(f"http://up.localhost:{up.port}/", ("x-key", "{{secret:key}}")) == "not-allowed"
    assert up.connections == 0
    assert "no secret 'key' is set for this install" in out.told.messages[0]


async def test_what_an_upstream_says_back_is_taken_out_in_every_usual_form() -> None:
    forms = [VALUE, quote(VALUE, safe=""), json.dumps(VALUE), base64.b64encode(VALUE.encode()).decode()]

    async def echo(received: Received, writer) -> bool:
        heard = (received.header("x-key") or "").encode("utf-8", "surrogateescape")
        writer.write(answer("\n".join(forms).encode() + b"\n" + heard, 200, (("x-heard", quote(VALUE, safe="")),)))
        return True

    async with Upstream(echo) as up, outside(private=private(f"up.localhost:{up.port}")) as out:
        got = await out.get(f"http://up.localhost:{up.port}/", ("x-key", "{{secret:key}}"), secrets=Known(key=VALUE))
    assert isinstance(got, Answer)
    assert got.header("x-heard") == "***"
    assert got.body == b'***\n***\n"***"\n***\n***'


async def test_an_answer_to_a_request_without_secrets_is_left_as_it_is() -> None:
    async with (
        Upstream(always(answer(VALUE.encode()))) as up,
        outside(private=private(f"up.localhost:{up.port}")) as out,
    ):
        got = await out.get(f"http://up.localhost:{up.port}/", secrets=Known(key=VALUE))
    assert isinstance(got, Answer)
    assert got.body == VALUE.encode()


@pytest.mark.parametrize("size", [10, 100_000])
async def test_a_large_binary_body_keeps_every_other_byte(size: int) -> None:
    around = bytes(range(256)) * (size // 256 + 1)
    cleaned = await redacted(Answer(200, (), around + b"secret-value" + around), ("secret-value",))
    assert cleaned.body == around + b"***" + around


def test_headers_with_a_place_do_not_follow_to_another_origin() -> None:
    headers = (("a", "{{secret:key}}"), ("b", "x{{secret:k}}y"), ("c", "plain"), ("d", "{{secret:"))
    assert without_secrets(headers) == (("c", "plain"), ("d", "{{secret:"))


@given(st.text(), st.text(min_size=8))
def test_a_filled_header_is_the_text_around_its_places(text: str, value: str) -> None:
    import asyncio

    secrets = Known(key=value)
    whole = f"{text}{{{{secret:key}}}}"
    filled = asyncio.run(inject((("x", whole),), TARGET, secrets))
    if isinstance(filled, Injected):
        assert filled.headers[0][1].endswith(value)
        assert value in filled.values
    else:
        assert filled.reason is Reason.SECRET
