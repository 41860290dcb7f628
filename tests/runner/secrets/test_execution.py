"""The secrets of one execution: opened when asked for, bound to their owner, their time and their hosts."""

from __future__ import annotations

import msgspec
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from runner.debug.recorder import Recorder
from runner.secrets.execution import ExecutionSecrets, SecretMissingError
from runner.secrets.keyring import Keyring, SealedBoxes
from shared.debug_event import ExtDebugEvent
from shared.egress_url import parse_url
from shared.errors import (
    PlatformError,
    SecretBindingMismatch,
    SecretExpired,
    SecretHostMismatch,
    SecretUnavailable,
)
from shared.wire import ExecuteRequest, Http, SecretEnvelope
from tests.runner.secrets.sealed import CANARY, CONTEXT, INSTALL, KEY, OLD_KEY, TENANT, boxed, envelope, several

NOW_S = 1_800_000_000.0
GRANTED = frozenset({"cap:secrets.get"})


class Kept:
    def __init__(self) -> None:
        self.events: list[ExtDebugEvent] = []

    def emit(self, event: ExtDebugEvent) -> None:
        self.events.append(event)


class Opened(SealedBoxes):
    """Counts what is opened."""

    count = 0

    async def open(self, key_id: str, ciphertext: bytes) -> bytes:
        self.count += 1
        return await super().open(key_id, ciphertext)


class Run:
    """One execution with these envelopes."""

    def __init__(self, *envelopes: SecretEnvelope, now_s: float = NOW_S) -> None:
        self.kept = Kept()
        self.recorder = Recorder(CONTEXT, self.kept)
        self.boxes = Opened([KEY, OLD_KEY])
        self.secrets = ExecutionSecrets(CONTEXT, envelopes, Keyring(self.boxes), self.recorder, clock=lambda: now_s)

    async def refused(self, kind: type[Exception], name: str = "api_key") -> PlatformError:
        with pytest.raises(kind) as error:
            await self.secrets.value(name)
        assert isinstance(error.value, PlatformError)
        return error.value


# ---- opening ------------------------------------------------------------------------------------------------


async def test_a_secret_is_opened_when_it_is_asked_for_and_once():
    run = Run(envelope(), envelope("webhook", "another-canary"))
    assert run.boxes.count == 0
    assert await run.secrets.names() == ["api_key", "webhook"]
    assert run.boxes.count == 0
    assert [await run.secrets.value("api_key") for _ in range(3)] == [CANARY] * 3
    assert run.boxes.count == 1


async def test_both_keys_of_a_rotation_open():
    run = Run(envelope(), envelope("older", "canary-of-the-old-key", key=OLD_KEY))
    assert await run.secrets.value("api_key") == CANARY
    assert await run.secrets.value("older") == "canary-of-the-old-key"


async def test_an_unknown_name_is_missing_and_no_incident():
    run = Run(envelope())
    with pytest.raises(SecretMissingError):
        await run.secrets.value("x" * 1000)
    (told,) = run.kept.events
    assert "setting it would answer" in told.message
    assert len(told.message) < 300
    assert run.recorder.incidents == ()


async def test_the_older_form_holds_several_in_one_box():
    request = ExecuteRequest(
        context=CONTEXT,
        http=Http(method="GET", path="/"),
        secret_envelopes=(envelope("api_key", "the-newer-one"),),
        secret_envelope=several({"api_key": "the-older-one", "webhook": "another-canary"}),
    )
    secrets = ExecutionSecrets.of(request, Keyring(Opened([KEY])), Recorder(CONTEXT, None))
    assert await secrets.names() == ["api_key", "webhook"]
    assert await secrets.value("api_key") == "the-newer-one"
    assert await secrets.value("webhook") == "another-canary"
    with pytest.raises(SecretMissingError):
        await secrets.value("absent")


async def test_an_execution_without_envelopes_has_no_secrets():
    secrets = ExecutionSecrets.none()
    secrets.check(GRANTED)
    assert await secrets.names() == []
    with pytest.raises(SecretMissingError):
        await secrets.value("api_key")


# ---- before dispatch ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes", [{"key_id": "0" * 16}, {"algorithm": "plain:v1"}, {"algorithm": "vault-transit:v1", "key_id": "t/k"}]
)
def test_an_unknown_key_or_algorithm_is_refused_before_dispatch_only_where_it_may_be_asked_for(changes):
    run = Run(envelope(), envelope("other", **changes))
    with pytest.raises(SecretUnavailable) as error:
        run.secrets.check(GRANTED)
    assert not error.value.started
    assert str(changes.get("key_id", KEY.key_id)) in error.value.detail
    run.secrets.check(frozenset({"cap:http.fetch"}))
    Run(envelope()).secrets.check(GRANTED)


def test_nothing_else_is_looked_at_before_dispatch():
    foreign = envelope(owner=("globex", INSTALL, "api_key"))
    broken = envelope("broken", ciphertext_b64="not base64!", expires_at="never")
    run = Run(foreign, broken, envelope("past", expires_at="2001-01-01T00:00:00Z"))
    run.secrets.check(GRANTED)
    assert (run.boxes.count, run.recorder.incidents) == (0, ())


# ---- binding (T62), time, broken boxes ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "owner", [("globex", INSTALL, "api_key"), (TENANT, INSTALL[:-1] + "9", "api_key"), (TENANT, INSTALL, "webhook")]
)
async def test_t62_a_box_from_another_row_is_a_binding_mismatch_in_the_record(owner):
    run = Run(envelope(owner=owner))
    with structlog.testing.capture_logs() as lines:
        await run.refused(SecretBindingMismatch)
    assert run.recorder.incidents == ("secret_binding_mismatch",)
    (event,) = run.kept.events
    assert event.data == {"kind": "incident", "code": "secret_binding_mismatch"}
    (line,) = lines
    assert (line["event"], line["log_level"], line["code"]) == ("secret_refused", "error", "secret_binding_mismatch")
    assert (line["tenant"], line["install"], line["secret_name"]) == (TENANT, INSTALL, "api_key")
    assert CANARY not in repr(lines) + repr(run.kept.events)


async def test_t62_an_older_box_of_another_tenant_tells_not_even_its_names():
    run = Run(several({"api_key": CANARY}, tenant="globex"))
    assert await run.secrets.names() == []
    await run.refused(SecretBindingMismatch)


@pytest.mark.parametrize(
    ("expires_at", "open_"),
    [
        (None, True),
        ("2027-01-15T08:00:01Z", True),  # NOW_S is 2027-01-15T08:00:00Z
        ("2027-01-15T09:00:01+01:00", True),
        ("2027-01-15T08:00:00Z", False),
        ("2027-01-15T07:59:59.999Z", False),
    ],
)
async def test_a_secret_ends_at_its_time(expires_at, open_):
    run = Run(envelope(expires_at=expires_at))
    if open_:
        assert await run.secrets.value("api_key") == CANARY
    else:
        await run.refused(SecretExpired)
        assert (run.recorder.incidents, run.boxes.count) == (("secret_expired",), 0)


async def test_a_secret_that_ends_during_the_execution_is_not_given_again():
    now = [NOW_S]
    run = Run()
    run.secrets = ExecutionSecrets(
        CONTEXT,
        (envelope(expires_at="2027-01-15T08:00:10Z"),),
        Keyring(run.boxes),
        run.recorder,
        clock=lambda: now[0],
    )
    assert await run.secrets.value("api_key") == CANARY
    now[0] += 10
    await run.refused(SecretExpired)


@pytest.mark.parametrize("expires_at", ["", "soon", "2027-01-15T08:00:01", "99999-01-01T00:00:00Z"])
async def test_a_time_that_is_none_is_past(expires_at):
    await Run(envelope(expires_at=expires_at)).refused(SecretUnavailable)


@pytest.mark.parametrize(
    "ciphertext",
    ["", "not base64!", "äöü", "AAAA", boxed(b"no json", KEY), boxed(b"{}", KEY), boxed(b"canary", OLD_KEY)],
)
async def test_a_box_that_does_not_open_is_unavailable_and_says_nothing_of_its_contents(ciphertext):
    run = Run(envelope(ciphertext_b64=ciphertext))
    error = await run.refused(SecretUnavailable)
    assert run.recorder.incidents == ("secret_unavailable",)
    assert "canary" not in error.detail + repr(run.kept.events)


@given(st.binary(max_size=120))
async def test_no_ciphertext_raises_anything_else(data):
    run = Run(envelope(ciphertext_b64=boxed(data, KEY)))
    with pytest.raises((SecretUnavailable, SecretBindingMismatch)):
        await run.secrets.value("api_key")


# ---- concealing ---------------------------------------------------------------------------------------------


async def test_t29_a_value_is_concealed_before_anyone_has_it():
    run = Run(envelope())
    run.recorder.record("info", "log", f"before: {CANARY}")
    value = await run.secrets.value("api_key")
    run.recorder.record("info", "stdout", f"after: {value}")
    assert [event.message for event in run.kept.events] == [f"before: {CANARY}", "after: ***"]


async def test_t29_an_injected_value_is_concealed_as_well():
    run = Run(envelope(hosts=("api.example.com",)))
    await run.secrets.inject("api_key", parse_url("https://api.example.com/"))
    assert run.recorder.redactor.clean_bytes(f"echo: {CANARY}".encode()) == b"echo: ***"


async def test_only_what_was_given_is_concealed():
    run = Run(several({"one": "canary-number-one", "two": "canary-number-two"}))
    await run.secrets.value("one")
    assert run.recorder.redactor.clean("canary-number-one canary-number-two") == "*** canary-number-two"


# ---- injection (T12) ----------------------------------------------------------------------------------------

BOUND = ("https://api.example.com", "*.eu.example.com:8443", "http://plain.example.com")


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com/v1?x",
        "https://API.example.com.:443/",
        "https://a.b.eu.example.com:8443/",
        "http://plain.example.com/",
    ],
)
async def test_t12_a_secret_is_injected_for_the_hosts_it_is_bound_to(url):
    assert await Run(envelope(hosts=BOUND)).secrets.inject("api_key", parse_url(url)) == CANARY


@pytest.mark.parametrize(
    "url",
    [
        "https://b.example.net/",
        "http://api.example.com/",
        "https://api.example.com:8443/",
        "https://api.example.com.evil.example/",
        "https://xapi.example.com/",
        "https://eu.example.com:8443/",
        "https://a.eu.example.com/",
        "https://plain.example.com/",
        "https://93.184.216.34/",
    ],
)
async def test_t12_and_for_no_other_scheme_host_or_port(url):
    run = Run(envelope(hosts=BOUND))
    with pytest.raises(SecretHostMismatch) as error:
        await run.secrets.inject("api_key", parse_url(url))
    assert (run.boxes.count, run.recorder.incidents) == (0, ("secret_host_mismatch",))
    assert parse_url(url).origin in error.value.detail  # what would allow it
    assert CANARY not in repr(run.kept.events)


@pytest.mark.parametrize("hosts", [(), ("",), ("not an entry/",), ("*",), ("*.com",), ("127.0.0.1:9998",)])
async def test_t12_without_a_valid_binding_it_is_injected_nowhere(hosts):
    run = Run(envelope(hosts=hosts))
    for url in ("https://api.example.com/", "https://127.0.0.1:9999/", "http://127.0.0.1:9999/"):
        with pytest.raises(SecretHostMismatch):
            await run.secrets.inject("api_key", parse_url(url))


async def test_an_address_is_bound_as_it_is_written():
    run = Run(envelope(hosts=("http://127.0.0.1:9999",)))  # whether it may be contacted was decided before
    assert await run.secrets.inject("api_key", parse_url("http://127.0.0.1:9999/")) == CANARY
    for url in ("http://127.0.0.1:9998/", "https://127.0.0.1:9999/", "http://127.0.0.2:9999/"):
        with pytest.raises(SecretHostMismatch):
            await run.secrets.inject("api_key", parse_url(url))


async def test_injection_needs_a_secret_its_owner_and_its_time():
    target = parse_url("https://api.example.com/")
    with pytest.raises(SecretMissingError):
        await Run().secrets.inject("api_key", target)
    for changes, kind in (
        ({"owner": ("globex", INSTALL, "api_key")}, SecretBindingMismatch),
        ({"expires_at": "2001-01-01T00:00:00Z"}, SecretExpired),
        ({"key_id": "0" * 16}, SecretUnavailable),
    ):
        with pytest.raises(kind):
            await Run(envelope(hosts=BOUND, **changes)).secrets.inject("api_key", target)


async def test_of_two_older_boxes_only_the_bound_one_is_injected():
    run = Run(several({"api_key": "unbound-canary"}), several({"webhook": CANARY}, hosts=BOUND))
    target = parse_url("https://api.example.com/")
    assert await run.secrets.inject("webhook", target) == CANARY
    with pytest.raises(SecretMissingError):
        await run.secrets.inject("api_key", target)


def test_an_envelope_of_a_request_is_not_shown_by_its_secrets():
    assert CANARY not in repr(msgspec.structs.asdict(envelope()))
