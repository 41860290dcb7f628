"""The host for tests behaves as the platform's does, so that a handler that passes here works there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from alga_extension import (
    CreateScheduleInput,
    HostError,
    HttpResponse,
    ScheduleInfo,
    StorageEntry,
    UpdateScheduleInput,
    mock_host,
    mock_storage,
)


def test_without_arguments_what_is_granted_by_default_answers_and_everything_else_is_refused() -> None:
    host = mock_host()
    assert host.context.get_context().tenant_id == "tenant-mock"
    assert host.user.get_user().user_type == "internal"
    assert host.user.get_user_v2().additional_fields == []
    assert (host.config.get("x"), host.config.get_all()) == (None, {})
    assert host.secrets.list_keys() == []
    refused = [
        (lambda: host.secrets.get("x"), "missing"),
        (lambda: host.http.fetch("https://a/"), "not-allowed"),
        (lambda: host.ui_proxy.call_route("x"), "route-not-found"),
        (lambda: mock_host(user=None).user.get_user(), "not-available"),
        (lambda: mock_host(user=None).user.get_user_v2(), "not-available"),
    ]
    for call, code in refused:
        with pytest.raises(HostError) as error:
            call()
        assert error.value.code == code
    assert (host.scheduler.list_schedules(), host.scheduler.get_schedule("x")) == ([], None)
    assert host.scheduler.get_endpoints() == []
    assert not host.scheduler.create_schedule(CreateScheduleInput("/", "*")).success
    assert not host.scheduler.update_schedule("x", UpdateScheduleInput()).success
    assert not host.scheduler.delete_schedule("x").success


def test_what_is_given_answers() -> None:
    host = mock_host(
        config={"region": "emea"},
        secrets={"b": "2", "a": "1"},
        fetch=lambda request: HttpResponse(201, (("X-A", "1"),), request.method.encode() + request.body),
        routes={"status": b"up"},
    )
    assert (host.config.get("region"), host.config.get_all()) == ("emea", {"region": "emea"})
    assert (host.secrets.get("a"), host.secrets.list_keys()) == ("1", ["a", "b"])
    told = host.http.fetch("https://a/", method="post", headers={"x": "1"}, body="ä")
    assert (told.status, told.ok, told.text(), told.header("x-a")) == (201, True, "POSTä", "1")
    assert host.ui_proxy.call_route("status") == b"up"
    (sent,) = host.recorded.requests
    assert (sent.method, sent.url, sent.headers, sent.body) == ("POST", "https://a/", (("x", "1"),), "ä".encode())
    assert HttpResponse(200, (), b"[1]").json() == [1]


def test_following_redirects_is_asked_for_with_the_platforms_header() -> None:
    host = mock_host(fetch=lambda request: HttpResponse(200))
    host.http.fetch("https://a/", headers={"x": "1"}, follow_redirects=5)
    host.http.fetch("https://a/")
    assert [sent.headers for sent in host.recorded.requests] == [(("x", "1"), ("x-ext-follow-redirects", "5")), ()]
    for wrong in (-1, 6, "5"):
        with pytest.raises(TypeError, match="from 0 to 5"):
            host.http.fetch("https://a/", follow_redirects=wrong)  # type: ignore[arg-type]


def test_secrets_can_be_expired_broken_or_denied_as_on_the_platform() -> None:
    secrets = mock_host(secrets={"b": HostError("secrets", "expired"), "a": "1"}).secrets
    assert (secrets.get("a"), secrets.list_keys()) == ("1", ["a", "b"])
    denied = mock_host(secrets=HostError("secrets", "denied")).secrets
    assert denied.list_keys() == []
    for holder, name, code in ((secrets, "b", "expired"), (secrets, "c", "missing"), (denied, "a", "denied")):
        with pytest.raises(HostError) as error:
            holder.get(name)
        assert (error.value.interface, error.value.code) == ("secrets", code)
    with pytest.raises(TypeError, match="the name of a secret must be a str, not int"):
        secrets.get(5)  # type: ignore[arg-type]


def test_what_is_said_is_recorded() -> None:
    host = mock_host()
    host.logging.log_info("a")
    host.logging.log_warn("b")
    host.logging.log_error("c")
    host.metrics.counter("n")
    host.metrics.gauge("g", 0.5, {"k": "v"})
    host.metrics.histogram("h", 2)
    host.events.publish("t", "p")
    assert host.recorded.logs == [("info", "a"), ("warn", "b"), ("error", "c")]
    assert host.recorded.metrics == [
        ("counter", "n", 1, {}),
        ("gauge", "g", 0.5, {"k": "v"}),
        ("histogram", "h", 2, {}),
    ]
    assert host.recorded.events == [("t", b"p")]


def test_its_storage_counts_revisions_and_refuses_stale_ones() -> None:
    storage = mock_host().storage
    assert storage.put("n", "a", "x") == StorageEntry("n", "a", b"x", 1)
    assert storage.put("n", "a", b"y", revision=1).revision == 2
    for revision in (1, 3):
        with pytest.raises(HostError, match="conflict"):
            storage.put("n", "a", "z", revision=revision)
    with pytest.raises(HostError, match="conflict"):
        storage.put("n", "absent", "z", revision=1)
    assert storage.get("n", "a").value == b"y"
    storage.delete("n", "a")
    for call in (storage.get, storage.delete):
        with pytest.raises(HostError, match="missing"):
            call("n", "a")


def test_its_storage_pages_by_the_bytes_of_the_key() -> None:
    storage = mock_host().storage
    keys = [f"k{number:03}" for number in range(149)] + ["ä"]
    for key in reversed(keys):
        storage.put("n", key, key)
    first = storage.list_entries("n")
    rest = storage.list_entries("n", first[-1].key)
    assert (len(first), [entry.key for entry in first + rest]) == (100, keys)
    assert storage.list_entries("other") == []


def test_a_part_can_be_replaced_by_a_tests_own() -> None:
    class Scheduler(type(mock_host().scheduler)):  # type: ignore[misc]
        def list_schedules(self) -> list[ScheduleInfo]:
            raise HostError("scheduler", "denied")

    host = replace(mock_host(), scheduler=Scheduler())
    with pytest.raises(HostError, match="denied"):
        host.scheduler.list_schedules()


def test_its_storage_ends_at_the_bytes_of_an_install_and_frees_what_is_removed() -> None:
    storage, whole = mock_host().storage, b"x" * mock_storage.VALUE_BYTES
    for number in range(mock_storage.BYTES // mock_storage.VALUE_BYTES):
        storage.put("n", f"k{number}", whole)
    for call in (lambda: storage.put("n", "beyond", "x"), lambda: storage.put("n", "k1", whole + b"x")):
        with pytest.raises(HostError, match="denied"):
            call()
    storage.put("n", "empty", "")
    storage.put("n", "k0", "")
    storage.put("n", "beyond", whole)
    storage.delete("n", "k1")
    assert storage.put("n", "k0", whole).revision == 3
