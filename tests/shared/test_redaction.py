"""Secret values are taken out of text in every form that is promised, and out of log lines of the execution."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from urllib.parse import quote, quote_plus, urlencode

import msgspec
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from shared import logs
from shared.limits import LOG_EVENT_MAX_BYTES, SECRET_REDACTED_MIN_BYTES
from shared.redaction import Redactor, redact_current, redact_from_here, redacting

CANARY = "canary-7f3a/91 c2+ä&~'"

FORMS = {
    "raw": lambda value: value,
    "url": lambda value: quote(value, safe=""),
    "url in lower case": lambda value: quote(value, safe="").lower() if value.islower() else quote(value, safe=""),
    "path": quote,
    "query": quote_plus,
    "form": lambda value: urlencode({"k": value}),
    "encodeURIComponent": lambda value: quote(value, safe="~!'()*"),
    "encodeURI": lambda value: quote(value, safe="~!'()*;,/?:@&=+$#"),
    "json": json.dumps,
    "json in unicode": lambda value: json.dumps(value, ensure_ascii=False),
    "json of msgspec": lambda value: msgspec.json.encode(value).decode(),
    "json with escaped slashes": lambda value: json.dumps(value).replace("/", "\\/"),
    "json for pages": lambda value: json.dumps(value).replace("&", "\\u0026").replace("'", "\\u0027"),
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "base64url": lambda value: base64.urlsafe_b64encode(value.encode()).decode().rstrip("="),
    "basic auth": lambda value: base64.b64encode(f"user:{value}".encode()).decode(),
    "basic auth, the name longer by one": lambda value: base64.b64encode(f"users:{value}".encode()).decode(),
    "base64 in the middle": lambda value: base64.b64encode(f"a{value}, and more".encode()).decode(),
}
every_form = pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))


def redactor(*values: str) -> Redactor:
    found = Redactor()
    for value in values:
        found.conceal(value)
    return found


@every_form
def test_a_value_is_found_in_every_form(form):
    text = f"before {form(CANARY)} after"
    cleaned = redactor(CANARY).clean(text)
    assert cleaned.startswith("before ")
    assert cleaned.endswith(" after")
    assert "***" in cleaned
    rest = cleaned.removeprefix("before ").removesuffix(" after").replace("***", "")
    assert len(rest) <= len(form("x" * 8)), rest  # quotes, or what stands beside the value in the same base64 text


text_values = st.text(min_size=8, max_size=40).filter(lambda value: len(value.encode("utf-8", "replace")) >= 8)


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",)), min_size=8, max_size=40))
def test_no_form_of_any_value_stays(value):
    cleaner = redactor(value)
    for name, form in FORMS.items():
        if name.startswith(("base64 in", "basic")):
            continue  # what stands beside it stays; the next test looks for the value's own bits
        cleaned = cleaner.clean(f"<{form(value)}>")
        assert value not in cleaned.replace("***", "\0") or len(value.strip("*")) == 0, name


@given(st.binary(max_size=5), st.text(alphabet=st.characters(exclude_categories=("Cs",)), min_size=8, max_size=30))
def test_of_a_value_within_base64_no_two_bytes_stay(before, value):
    data = value.encode()
    text = base64.b64encode(before + data + b"!").decode()
    cleaned = redactor(value).clean(text)
    if "***" not in text.replace("***", "", 0) and cleaned == text:
        pytest.fail("it was not found")
    kept = cleaned.split("***")[0]
    decoded = base64.b64decode(kept + "A" * (-len(kept) % 4))
    assert len(decoded) <= len(before) + 3
    assert not decoded[len(before) :].startswith(data[:2]) or len(decoded[len(before) :].rstrip(b"\0")) < 2


@pytest.mark.parametrize(
    ("value", "concealed"),
    [("1234567", False), ("12345678", True), ("123456789", True), ("ääää", True), ("äää", False)],
)
def test_eight_bytes_are_enough_and_seven_are_not(value, concealed):
    assert SECRET_REDACTED_MIN_BYTES == 8
    cleaned = redactor(value).clean(f"a {value} b")
    assert cleaned == ("a *** b" if concealed else f"a {value} b")


def test_without_values_a_text_is_the_same_object():
    text = "nothing to hide"
    assert Redactor().clean(text) is text
    assert Redactor().clean_bytes(data := b"x") is data


def test_the_longer_of_two_values_is_concealed_whole():
    assert redactor("abcdefgh", "abcdefgh-ijkl").clean("abcdefgh-ijkl abcdefgh") == "*** ***"
    assert redactor("abcdefgh-ijkl", "abcdefgh").clean("abcdefgh-ijkl abcdefgh") == "*** ***"


def test_a_value_told_later_is_concealed_from_then_on():
    cleaner = redactor("first-value")
    assert cleaner.clean("first-value second-value") == "*** second-value"
    cleaner.conceal("second-value")
    assert cleaner.clean("first-value second-value") == "*** ***"


def test_each_line_of_a_value_is_concealed_since_output_comes_line_by_line():
    pem = "-----BEGIN X-----\r\nMC4CAQAwBQYDK2VuBCIE\nshort\n  indented-line\n-----END X-----\n"
    cleaner = redactor(pem)
    for line in ("-----BEGIN X-----", "MC4CAQAwBQYDK2VuBCIE", "    indented-line"):
        assert cleaner.clean(f"[{line}]").strip("[ ]") == "***"
    assert cleaner.clean("[short]") == "[short]"
    assert cleaner.clean(json.dumps({"pem": pem})) == '{"pem": "***"}'


def test_bytes_are_cleaned_whatever_stands_around():
    assert redactor(CANARY).clean_bytes(b"\xff\x00" + CANARY.encode() + b"\xfe") == b"\xff\x00***\xfe"
    untouched = b"\xff\x00\xfe" * 10
    assert redactor(CANARY).clean_bytes(untouched) is untouched


def test_a_redactor_shows_how_many_and_nothing_else():
    assert repr(redactor(CANARY, "another-value")) == "Redactor(2 values)"


# ---- where a text was cut -----------------------------------------------------------------------------------


@given(st.integers(min_value=0, max_value=len(CANARY)), st.text(alphabet="xyz ", max_size=20))
def test_what_was_cut_within_a_value_shows_less_than_four_characters_of_it(size, before):
    cleaner = redactor(CANARY)
    head = cleaner.clean(before + CANARY[:size], ends_inside=True)
    tail = cleaner.clean(CANARY[size:] + before, begins_inside=True)
    for piece in range(4, len(CANARY)):
        assert not head.endswith(CANARY[:piece])
        assert not tail.startswith(CANARY[-piece:])
    assert head.startswith(before)
    assert tail.endswith(before)


@pytest.mark.parametrize("form", [lambda value: json.dumps(value)[1:-1], lambda value: quote(value, safe="")])
def test_encoded_forms_are_recognised_at_a_cut_as_well(form):
    text = form(CANARY)
    assert redactor(CANARY).clean(f"a {text[:-3]}", ends_inside=True) == "a ***"
    assert redactor(CANARY).clean(f"{text[3:]} b", begins_inside=True) == "*** b"


def test_a_whole_text_that_ends_like_the_beginning_of_a_value_stays():
    assert redactor(CANARY).clean("a canary") == "a canary"


def test_long_values_cost_no_time_at_a_cut():
    value = "ab" * 4000
    text = ("ab" * 10 + "c") * (LOG_EVENT_MAX_BYTES // 21)
    assert redactor(value).clean(text, ends_inside=True, begins_inside=True).endswith("c")


# ---- log lines ----------------------------------------------------------------------------------------------


@pytest.fixture
def lines():
    stream = io.StringIO()
    logs.configure("runner", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.reset_defaults()


def failing(value: str) -> None:
    raise RuntimeError(f"it failed on {value}")


def test_a_log_line_of_an_execution_is_cleaned_and_one_of_another_is_not(lines):
    log = structlog.get_logger()
    with redacting(redactor(CANARY)):
        log.info("inside", note=f"got {CANARY}", deep={"list": [CANARY, CANARY.encode()]})
        try:
            failing(CANARY)
        except RuntimeError:
            log.exception("failed")
        with redacting(redactor("another-value")):
            log.info("nested", note=CANARY)
        assert redact_current(CANARY) == "***"
    log.info("outside", note=CANARY)
    inside, failed, nested, outside = lines()
    assert "canary" not in json.dumps([inside, failed])
    assert "RuntimeError" in failed["exception"]
    assert nested["note"] == outside["note"] == CANARY


async def test_tasks_that_begin_in_an_execution_are_cleaned_and_others_are_not(lines):
    log = structlog.get_logger()

    async def speak(event: str) -> None:
        log.info(event, note=CANARY)

    async def execution() -> None:
        redact_from_here(redactor(CANARY))
        await asyncio.create_task(speak("child"))

    await asyncio.create_task(execution())
    await asyncio.create_task(speak("stranger"))
    assert [line["note"] for line in lines()] == ["***", CANARY]
