"""What an execution says: numbered without holes, marked at both ends, and without what nobody should read."""

from __future__ import annotations

import pytest

from runner.debug.marks import record_end, record_start
from runner.debug.recorder import Recorder
from shared.deadline import Deadline
from shared.debug_event import ExtDebugEvent, Stream
from shared.limits import EGRESS_DENIED_TARGETS_MAX_COUNT, LOG_EVENT_MAX_BYTES
from shared.wire import Context, DeniedTarget, Http, Usage
from tests.debug_events import EXTENSION

CONTEXT = Context(
    request_id="r-1",
    tenant_id="acme",
    extension_id=EXTENSION,
    install_id="i",
    version_id="v",
    content_hash="sha256:x",
)
SECRET = "canary-7f3a91c2"
USAGE = Usage(duration_ms=12.5, cpu_ms=3, memory_peak_bytes=4096, host_calls=2, cold=True)


class Kept:
    """Keeps events."""

    def __init__(self) -> None:
        self.events: list[ExtDebugEvent] = []

    def emit(self, event: ExtDebugEvent) -> None:
        self.events.append(event)

    @property
    def messages(self) -> list[str]:
        return [event.message for event in self.events]


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def recorder(kept: Kept) -> Recorder:
    return Recorder(CONTEXT, kept, clock=lambda: 1_700_000_000.5)


def test_events_are_numbered_from_one_and_stamped(recorder: Recorder, kept: Kept) -> None:
    for _ in range(3):
        recorder.record("info", "log", "x")
    assert [event.seq for event in kept.events] == [1, 2, 3]
    assert {event.ts for event in kept.events} == {1_700_000_000_500}
    assert len({event.execution_id for event in kept.events}) == 1


def test_two_executions_of_one_request_can_be_told_apart(kept: Kept) -> None:
    for _ in range(2):
        Recorder(CONTEXT, kept).record("info", "log", "x")
    first, second = kept.events
    assert first.request_id == second.request_id
    assert first.execution_id != second.execution_id


def test_nobody_asked_nothing_is_recorded() -> None:
    silent = Recorder(CONTEXT, None)
    silent.record("info", "log", "x")
    record_start(silent, Http(method="GET", path="/x"), Deadline.after_ms(1000))
    record_end(silent, "ok", 200, USAGE)
    assert silent.silent
    assert silent.count == 0


def test_the_first_event_names_the_deadline_and_never_the_query(recorder: Recorder, kept: Kept) -> None:
    http = Http(method="POST", path="/notes", query_string="token=abc", headers={"x": "y"}, body=b"z")
    record_start(recorder, http, Deadline.after_ms(5000))
    (event,) = kept.events
    assert (event.stream, event.level, event.message) == ("system", "debug", "POST /notes")
    assert event.data is not None
    assert event.data["kind"] == "execution.start"
    assert 4900 < int(event.data["timeout_ms"]) <= 5000


def test_the_last_event_counts_all_of_them_and_says_what_it_took(recorder: Recorder, kept: Kept) -> None:
    recorder.record("info", "log", "x")
    record_end(recorder, "ok", 201, USAGE)
    last = kept.events[-1]
    assert last.data == {
        "kind": "execution.end",
        "code": "ok",
        "status": "201",
        "duration_ms": "12.5",
        "cpu_ms": "3",
        "memory_peak_bytes": "4096",
        "host_calls": "2",
        "egress_bytes": "0",
        "cold": "true",
        "events": "2",
    }
    assert (last.seq, last.level, last.stream) == (2, "info", "system")


def test_nothing_follows_the_last_event(recorder: Recorder, kept: Kept) -> None:
    record_end(recorder, "guest_timeout", 504, Usage())
    recorder.record("info", "log", "late")
    (last,) = kept.events
    assert last.level == "error"


def test_a_secret_is_concealed_wherever_it_stands(recorder: Recorder, kept: Kept) -> None:
    recorder.conceal(SECRET)
    recorder.record("info", "stdout", f"key={SECRET}, again {SECRET}!", data={"a": SECRET})
    (event,) = kept.events
    assert event.message == "key=***, again ***!"
    assert event.data == {"a": "***"}


def test_the_longer_of_two_secrets_is_concealed_whole(recorder: Recorder, kept: Kept) -> None:
    for secret in ("abcdefgh", "abcdefgh-ijkl"):
        recorder.conceal(secret)
    recorder.record("info", "log", "abcdefgh-ijkl abcdefgh")
    assert kept.messages == ["*** ***"]


@pytest.mark.parametrize("size", range(4, len(SECRET)))
def test_a_line_cut_within_a_secret_does_not_show_its_beginning(recorder: Recorder, kept: Kept, size: int) -> None:
    recorder.conceal(SECRET)
    recorder.record("info", "log", f"key {SECRET[:size]}", truncated=True)
    assert kept.messages == ["key ***"]


def test_a_whole_line_that_ends_like_the_beginning_of_a_secret_stays(recorder: Recorder, kept: Kept) -> None:
    recorder.conceal(SECRET)
    recorder.record("info", "log", "a canary")
    assert kept.messages == ["a canary"]


@pytest.mark.parametrize(("secret", "shown"), [("1234567", "1234567 12345678"), ("12345678", "1234567 ***")])
def test_a_secret_of_seven_bytes_is_none_and_one_of_eight_is(
    recorder: Recorder, kept: Kept, secret: str, shown: str
) -> None:
    recorder.conceal(secret)
    recorder.record("info", "log", "1234567 12345678")
    assert kept.messages == [shown]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("size", range(1, len(SECRET)))
def test_a_secret_across_two_pieces_of_one_long_line_is_in_neither(
    recorder: Recorder, kept: Kept, stream: Stream, size: int
) -> None:
    recorder.conceal(SECRET)
    recorder.record("info", stream, "x" * (LOG_EVENT_MAX_BYTES - size) + SECRET[:size])
    recorder.record("info", "log", SECRET[size:])  # another stream: not the rest of that line
    recorder.record("info", stream, f"{SECRET[size:]} rest")
    recorder.record("info", stream, SECRET[size:])
    first, _, second, third = kept.messages
    for piece in range(4, len(SECRET)):
        assert not first.endswith(SECRET[:piece])
        assert SECRET[-piece:] not in second
    assert second.endswith(" rest")
    assert third == SECRET[size:]  # a line of its own


def test_an_incident_is_told_and_kept_once_in_order_of_appearance(recorder: Recorder, kept: Kept) -> None:
    recorder.conceal(SECRET)
    for code in ("secret_expired", "secret_host_mismatch", "secret_expired"):
        recorder.incident(code, f"refused: {SECRET}")
    assert recorder.incidents == ("secret_expired", "secret_host_mismatch")
    assert kept.messages == ["refused: ***"] * 3
    assert kept.events[0].data == {"kind": "incident", "code": "secret_expired"}
    assert {event.level for event in kept.events} == {"warn"}


def test_an_incident_is_kept_also_when_nobody_asked_for_debugging() -> None:
    silent = Recorder(CONTEXT, None)
    silent.incident("secret_expired", "refused")
    assert silent.incidents == ("secret_expired",)


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_denied_targets_are_counted_for_each_reason_within_bounds_and_without_debugging(extra: int) -> None:
    silent = Recorder(CONTEXT, None)
    for number in range(EGRESS_DENIED_TARGETS_MAX_COUNT + extra):
        silent.denied_target(f"https://{number}.example", "not-granted", grantable=True)
    silent.denied_target("https://0.example", "not-granted", grantable=True, observed=True)
    first, *others = silent.denied_targets
    assert first == DeniedTarget(
        target="https://0.example", reason="not-granted", times=2, grantable=True, observed=True
    )
    assert len(others) + 1 == EGRESS_DENIED_TARGETS_MAX_COUNT + min(0, extra)
    silent.denied_target("https://0.example", "ip-denied", grantable=False)
    assert len(silent.denied_targets) == EGRESS_DENIED_TARGETS_MAX_COUNT


def test_a_denied_target_that_holds_a_secret_is_told_to_nobody(recorder: Recorder) -> None:
    recorder.conceal("s3cr3t-value")
    recorder.denied_target("https://s3cr3t-value.evil.example", "not-granted", grantable=True)
    recorder.denied_target("https://good.example", "not-granted", grantable=True)
    assert [one.target for one in recorder.denied_targets] == ["https://good.example"]


def test_our_own_credentials_are_concealed_without_being_told(recorder: Recorder, kept: Kept) -> None:
    recorder.record("info", "log", "ak_0123456789abcdef_" + "s" * 43)
    recorder.record("info", "log", "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl")
    assert kept.messages == ["***", "***"]
