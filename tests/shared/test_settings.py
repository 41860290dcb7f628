"""Settings: a bad value stops the start and names the variable; a secret is never shown."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import settings
from shared.settings import REQUIRED, SettingError, Var, load, unknown

CANARY = "hunter2-canary"


class Example(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    timeout_ms: int
    token: str


def refuse(value: str) -> str:
    raise ValueError(f"cannot do anything with {value!r}")


VARIABLES = [
    Var(field="url", name="EXT_URL", parse=settings.url("http", "https"), help="Where it is."),
    Var(field="timeout_ms", name="EXT_TIMEOUT_MS", parse=settings.integer(1, 30_000), help="How long.", default=5000),
    Var(field="token", name="EXT_TOKEN", parse=settings.text, help="A secret.", default="", secret=True),
]


def test_a_struct_is_filled_from_the_environment_with_defaults():
    assert load(Example, VARIABLES, {"EXT_URL": "https://a.example/"}) == Example(
        url="https://a.example", timeout_ms=5000, token=""
    )


def test_the_settings_cannot_be_changed_afterwards():
    loaded = load(Example, VARIABLES, {"EXT_URL": "https://a.example"})
    with pytest.raises(AttributeError):
        loaded.url = "https://b.example"


@pytest.mark.parametrize("value", ["0", "30001", "x", "", " 1", "1.0", "1e3", "٣", "9" * 19, "--1"])
def test_a_bad_value_names_the_variable_and_what_would_be_valid(value):
    with pytest.raises(SettingError, match=r"EXT_TIMEOUT_MS: .* is not valid: must be a whole number from 1 to 30000"):
        load(Example, VARIABLES, {"EXT_URL": "https://a.example", "EXT_TIMEOUT_MS": value})


@pytest.mark.parametrize(("value", "fine"), [("0", False), ("1", True), ("30000", True), ("30001", False)])
def test_a_number_is_accepted_up_to_its_bounds(value, fine):
    try:
        assert settings.integer(1, 30_000)(value) == int(value)
    except ValueError:
        assert not fine
    else:
        assert fine


def test_a_missing_variable_is_named_with_its_sentence():
    with pytest.raises(SettingError, match=r"EXT_URL is required: Where it is\."):
        load(Example, VARIABLES, {})


def test_a_value_may_stand_in_a_file(tmp_path):
    path = tmp_path / "token"
    path.write_text(f"{CANARY}\n")
    env = {"EXT_URL": "https://a.example", "EXT_TOKEN_FILE": str(path)}
    assert load(Example, VARIABLES, env).token == CANARY


def test_a_value_and_a_file_at_once_are_refused(tmp_path):
    env = {"EXT_URL": "https://a.example", "EXT_TOKEN": "x", "EXT_TOKEN_FILE": str(tmp_path / "x")}
    with pytest.raises(SettingError, match="EXT_TOKEN and EXT_TOKEN_FILE are both set"):
        load(Example, VARIABLES, env)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    env = {"EXT_URL": "https://a.example", "EXT_TOKEN_FILE": str(tmp_path / "absent")}
    with pytest.raises(SettingError, match=r"EXT_TOKEN_FILE: .*absent cannot be read: No such file"):
        load(Example, VARIABLES, env)
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingError, match=r"EXT_TOKEN_FILE: .*binary is not UTF-8"):
        load(Example, VARIABLES, {**env, "EXT_TOKEN_FILE": str(binary)})


def chain(error):
    while error is not None:
        yield repr(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@pytest.mark.parametrize("parse", [refuse, int, settings.integer(0, 9), settings.url("https"), settings.bind])
@pytest.mark.parametrize("from_file", [False, True])
def test_a_secret_is_never_shown_even_when_it_is_wrong(tmp_path, parse, from_file):
    variables = [Var(field="token", name="EXT_TOKEN", parse=parse, help="A secret.", secret=True)]
    path = tmp_path / "token"
    path.write_text(CANARY)
    env = {"EXT_TOKEN_FILE": str(path)} if from_file else {"EXT_TOKEN": CANARY}
    with pytest.raises(SettingError, match="EXT_TOKEN: the value is not valid") as caught:
        load(Example, variables, env)
    assert CANARY not in " ".join(chain(caught.value))


def test_a_value_that_is_no_secret_is_shown():
    variables = [Var(field="url", name="EXT_URL", parse=settings.url("https"), help="Where it is.")]
    with pytest.raises(SettingError, match=r"EXT_URL: 'ftp://x' is not valid: must be an absolute URL with https"):
        load(Example, variables, {"EXT_URL": "ftp://x"})


def test_an_unknown_name_that_looks_like_ours_is_a_warning_with_the_nearest_match():
    env = {"EXT_TIMEOUT": "1", "EXT_URL_FILE": "x", "RUNNER_ZZZZZZ": "1", "PATH": "/bin", "HOME": "/"}
    assert unknown(env, VARIABLES) == [
        "EXT_TIMEOUT is not a setting; did you mean EXT_TIMEOUT_MS?",
        "RUNNER_ZZZZZZ is not a setting",
    ]


def test_a_name_declared_by_another_service_is_known():
    other = [Var(field="workers", name="RUNNER_WORKERS", parse=settings.integer(1, 64), help="Workers.", default=2)]
    assert unknown({"RUNNER_WORKERS": "2"}, VARIABLES, other) == []


def test_a_variable_without_a_default_is_required():
    assert Var(field="x", name="X", parse=settings.text, help="").default is REQUIRED


@pytest.mark.parametrize(
    ("value", "parsed"), [("1", True), ("true", True), ("TRUE", True), ("0", False), ("false", False)]
)
def test_a_flag_is_one_of_four_words(value, parsed):
    assert settings.flag(value) is parsed


@pytest.mark.parametrize("value", ["", "yes", "on", "2", " 1"])
def test_any_other_flag_is_refused(value):
    with pytest.raises(ValueError, match="1, true, 0 or false"):
        settings.flag(value)


def test_a_choice_is_one_of_its_words():
    parse = settings.choice("advisory", "enforce")
    assert parse("enforce") == "enforce"
    with pytest.raises(ValueError, match="advisory, enforce"):
        parse("Enforce")


@pytest.mark.parametrize(
    ("value", "parsed"),
    [
        ("https://a.example", "https://a.example"),
        ("http://a.example:80/x/", "http://a.example:80/x"),
        ("http://[::1]:1", "http://[::1]:1"),
    ],
)
def test_a_url_loses_its_trailing_slash(value, parsed):
    assert settings.url("http", "https")(value) == parsed


@pytest.mark.parametrize(
    "value",
    ["", "a.example", "ftp://a.example", "https://", "https:///x", "http://[", "http://a.exa\nmple", " http://a"],
)
def test_what_is_no_absolute_url_is_refused(value):
    with pytest.raises(ValueError):
        settings.url("http", "https")(value)


@pytest.mark.parametrize("value", ["127.0.0.1:8000", "0.0.0.0:0", "[::1]:8000", "localhost:65535"])
def test_a_listener_stands_at_host_and_port(value):
    assert settings.bind(value) == value


@pytest.mark.parametrize("value", ["", "8000", ":8000", "a:", "a:65536", "a:123456", "::1:80", "a b:80", "a:8o"])
def test_any_other_listener_is_refused(value):
    with pytest.raises(ValueError, match="host:port"):
        settings.bind(value)


def test_words_are_separated_by_commas():
    assert settings.csv(" a, b ,,c ") == ("a", "b", "c")
    assert settings.csv("") == ()


def test_text_must_not_be_empty_unless_it_may():
    assert settings.any_text("") == ""
    with pytest.raises(ValueError, match="empty"):
        settings.text("")
    with pytest.raises(ValueError, match="empty"):
        settings.directory("")
    assert settings.directory("x") == Path("x").absolute()


@given(st.text(alphabet=st.characters(exclude_characters="\x00", exclude_categories=["Cs"])))
def test_no_text_makes_a_parser_do_worse_than_refuse(value):
    for parse in (settings.integer(0, 5), settings.flag, settings.url("https"), settings.bind, settings.csv):
        try:
            parse(value)
        except ValueError:
            continue
