"""Log lines: one JSON object each, event first, nothing secret, no control character raw."""

from __future__ import annotations

import io
import json
import logging

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from shared import logs
from shared.keys import PrivateKey
from shared.tokens import IdentityClaims, mint

CANARY = "canary-7f3a9c"
KEY = PrivateKey(b"\1" * 32)
TOKEN = mint(KEY, IdentityClaims(iss="i", aud="gateway", jti="j", iat=1, exp=2))


@pytest.fixture
def lines():
    """Everything logged during a test, parsed; structlog and the root logger are as they were afterwards."""
    stream = io.StringIO()
    handlers, level = logging.root.handlers[:], logging.root.level
    logs.configure("runner", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.root.handlers[:], logging.root.level = handlers, level


def test_the_event_stands_first_and_the_service_second(lines):
    structlog.contextvars.bind_contextvars(request_id="r-1", tenant_id="acme")
    structlog.get_logger().info("execute_finished", code="ok", duration_ms=12)
    logging.getLogger("third.party").warning("it says %s", "hello")
    first, second = lines()
    assert list(first)[:2] == list(second)[:2] == ["event", "service"]
    assert first["event"] == "execute_finished"
    assert (first["service"], first["level"], first["code"], first["duration_ms"]) == ("runner", "info", "ok", 12)
    assert (first["request_id"], first["tenant_id"]) == ("r-1", "acme")
    assert first["timestamp"].endswith("Z")
    assert second["event"] == "it says hello"


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "Authorization",
        "cookie",
        "set_cookie",
        "password",
        "secret",
        "host_token",
        "api_key",
        "apikey",
        "private_key",
        "credential",
    ],
)
def test_a_value_under_a_name_that_holds_credentials_is_hidden(lines, name):
    structlog.get_logger().info(
        "x", **{name: CANARY}, nested={"deep": [{name: CANARY}]}, other=((name, {name: CANARY}),)
    )
    assert CANARY not in json.dumps(lines())
    assert lines()[0][name] == "***"


@pytest.mark.parametrize("name", ["key_id", "token_kind", "secret_names", "request_id", "host"])
def test_a_harmless_name_keeps_its_value(lines, name):
    structlog.get_logger().info("x", **{name: "value"})
    assert lines()[0][name] == "value"


@pytest.mark.parametrize(
    "secret",
    [TOKEN, "ak_0123abcd_" + "S3cr3t-_x" * 3, KEY.pem(), "https://user:" + CANARY + "@db.example/x"],
    ids=["jws", "api-key", "pem", "userinfo"],
)
def test_what_looks_like_a_credential_is_hidden_wherever_it_stands(lines, secret):
    class Odd:
        def __repr__(self) -> str:
            return f"Odd({secret})"

    log = structlog.get_logger()
    text = f"got {secret}"
    log.info(text, a=secret, b=[f"x {secret} y"], c={"d": (secret,)}, e={secret}, f=secret.encode(), g=Odd())
    log.info("x", h=ValueError(secret))
    logging.getLogger("third.party").error("got %s", secret)
    try:
        raise ValueError(secret)
    except ValueError:
        log.exception("failed")
        logging.getLogger("third.party").exception("failed")
    text = json.dumps(lines())
    assert len(lines()) == 5
    for piece in (TOKEN.rpartition(".")[2], "S3cr3t", KEY.pem().splitlines()[1], CANARY):
        assert piece not in text
    assert text.count("***") >= 9


def test_a_forged_line_stays_inside_its_own(lines):
    structlog.get_logger().info('\n{"level":"error","msg":"forged"}', value="\x1b[31m\r\n\x00\x7f\x85\u2028")
    logging.getLogger("third.party").warning('\n{"level":"error"}')
    assert len(lines()) == 2
    assert lines()[0]["level"] == "info"
    assert lines()[0]["value"] == "\x1b[31m\r\n\x00\x7f\x85\u2028"


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_any_value_is_one_line_of_printable_ascii_that_is_json(value):
    stream = io.StringIO()
    handlers, level = logging.root.handlers[:], logging.root.level
    try:
        logs.configure("runner", stream)
        structlog.get_logger().info("x", value=value)
    finally:
        structlog.reset_defaults()
        logging.root.handlers[:], logging.root.level = handlers, level
    line = stream.getvalue()
    assert line.endswith("\n")
    assert line[:-1].isascii()
    assert line[:-1].isprintable()
    assert json.loads(line, parse_constant=pytest.fail)["event"] == "x"


def test_a_level_below_the_configured_one_is_not_written(lines):
    structlog.get_logger().debug("x")
    assert lines() == []
    with pytest.raises(KeyError):
        logs.configure("runner", io.StringIO(), level="chatty")


def test_plain_text_is_redacted_for_sinks_that_are_not_logs():
    assert logs.redact_text(f"a {TOKEN} b") == "a *** b"
    assert logs.redact_text("nothing here: a.b.c ak_ eyJ") == "nothing here: a.b.c ak_ eyJ"
