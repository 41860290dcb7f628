"""Both runtimes inside real guests: three toolchains build them, real sandboxes run them."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runner.sandbox import frames
from runner.sandbox.pool import PoolOptions
from shared.component import inspect_component
from tests.built import native
from tests.runner.sandbox.driving import Driver, running_pool
from tests.runner.sdk.building import ENDPOINT, SCHEDULE, Guest, built

pytestmark = [pytest.mark.guests, pytest.mark.slow, pytest.mark.timeout(300)]

SOURCES = {"python": "app.py", "quickjs": "handler.js", "starlingmonkey": "handler.js"}
JS = ("quickjs", "starlingmonkey")
every_guest = pytest.mark.parametrize("engine", SOURCES)
every_js = pytest.mark.parametrize("engine", JS)


@pytest.fixture(scope="session")
def components(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("guests")
    return {engine: built(folder, engine, source) for engine, source in SOURCES.items()}


@pytest.fixture(scope="session")
def code(components: dict[str, Path]) -> dict[str, bytes]:
    return {engine: native(f"runtimes-{engine}", path.read_bytes()) for engine, path in components.items()}


@pytest.fixture
async def guest(engine: str, code: dict[str, bytes]) -> AsyncIterator[Guest]:
    async with running_pool(PoolOptions(sandbox_max=4, idle_max=1)) as pool:
        yield Guest(Driver(pool, code[engine]))


# ---- the component --------------------------------------------------------------------------------------------


@every_guest
def test_the_platform_accepts_the_component_with_its_randomness(engine: str, components: dict[str, Path]) -> None:
    facts = inspect_component(components[engine], timeout_s=60)
    assert any(re.match(r"wasi:random/random@0\.2\.", name) for name in facts.imports)


# ---- randomness -----------------------------------------------------------------------------------------------


@every_guest
async def test_every_draw_differs_within_a_call_and_between_calls(engine: str, guest: Guest) -> None:
    drawn = [await guest.json("/random") for _ in range(4)]
    for name in drawn[0]:
        assert len({draw[name] for draw in drawn}) == len(drawn), name
    for draw in drawn:
        assert len(bytes.fromhex(draw["bytes"])) == 16
        assert uuid.UUID(draw["uuid"]).version == 4
        assert 0 <= draw["number"] < 1
        assert draw["number"] != draw.get("another")


# ---- routes, errors -------------------------------------------------------------------------------------------


@every_guest
async def test_a_route_has_its_parameters_and_query(engine: str, guest: Guest) -> None:
    assert await guest.json("/items/a%20b%2Fc?q=1&q=%C3%A4") == {"id": "a b/c", "q": ["1", "ä"]}


@every_guest
async def test_an_unknown_path_is_404_and_another_method_405(engine: str, guest: Guest) -> None:
    absent, _ = await guest.answer("/absent?x=1")
    assert (absent.status, absent.body) == (404, b'{"error":"not found","path":"/absent"}')
    refused, _ = await guest.answer("/only-get")
    assert refused.status == 405
    assert ("allow", "GET") in refused.headers


@every_guest
async def test_an_http_error_is_its_status_and_nothing_is_logged(engine: str, guest: Guest) -> None:
    told, calls = await guest.answer("/http-error")
    assert (told.status, told.body, calls.lines) == (418, b'{"error":"a teapot","short":true}', [])


@every_guest
@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/throw", r"(RangeError|LookupError): for the author"),
        ("/argument", r"TypeError: a key must be a (text, not number|str, not int)"),
        ("/nothing", r"TypeError: a handler returns"),
    ],
)
async def test_any_other_throw_is_a_500_with_its_place_in_the_log(
    engine: str, guest: Guest, path: str, says: str
) -> None:
    told, calls = await guest.answer(path)
    assert (told.status, told.body) == (500, b'{"error":"internal error"}')
    ((level, stream, message),) = calls.lines
    assert (level, stream) == ("error", "log")
    assert re.search(says, message)
    assert re.search(r"(handler\.js:\d+|app\.py\", line \d+|alga_extension/entry\.py)", message)


@every_guest
async def test_running_out_of_memory_is_left_to_the_platform_and_the_next_call_works(engine: str, guest: Guest) -> None:
    outcome, _ = await guest.outcome("/memory")
    assert isinstance(outcome.result, frames.Failed)
    assert outcome.memory_grown_bytes > 32 << 20
    assert await guest.json("/items/1") == {"id": "1", "q": []}


@every_guest
async def test_endless_recursion_ends_the_call_and_not_the_sandbox(engine: str, guest: Guest) -> None:
    outcome, calls = await guest.outcome("/recursion")
    if engine == "python":  # the interpreter counts for itself: an exception like any other
        assert isinstance(outcome.result, frames.Done)
        assert "RecursionError" in calls.lines[0][2]
    else:
        assert isinstance(outcome.result, frames.Failed)
        assert outcome.result.kind in {"stack", "unreachable"}
    assert await guest.json("/items/1") == {"id": "1", "q": []}


@every_guest
async def test_a_lone_surrogate_crosses_nowhere_and_traps_nowhere(engine: str, guest: Guest) -> None:
    told, _ = await guest.answer("/surrogate")
    replaced = "?" if engine == "python" else "\ufffd"
    assert (dict(told.headers)["x-a"], (told.body or b"").decode()) == (f"a{replaced}", f"none{replaced}")


@every_js
async def test_an_asynchronous_handler_works_where_the_engine_waits_and_says_so_where_not(
    engine: str, guest: Guest
) -> None:
    told, calls = await guest.answer("/promise")
    if engine == "starlingmonkey":
        assert (told.status, told.body) == (200, b"later")
    else:
        assert told.status == 500
        assert "QuickJS cannot wait" in calls.lines[0][2]


# ---- the host -------------------------------------------------------------------------------------------------


@every_guest
async def test_every_interface_of_the_host_answers_with_the_same_values(engine: str, guest: Guest) -> None:
    told = await guest.json("/everything")

    def name(snake: str) -> str:
        return snake if engine == "python" else re.sub(r"_(\w)", lambda found: found[1].upper(), snake)

    def record(*fields: str) -> list[str]:
        return [name(field) for field in fields]

    context = dict(
        zip(
            record("request_id", "tenant_id", "extension_id", "install_id", "version_id"),
            ("request", "acme", "extension", "install", "version"),
            strict=True,
        )
    )
    fields = ("id", "endpoint_path", "endpoint_method", "name", "cron", "timezone", "enabled", "payload")
    times = ("last_run_at", "last_run_status", "last_error", "created_at")
    assert told["context"] == context
    assert told["user"] == "user: not-available: user: not-available"
    assert told[name("user_v2")] == "user-v2: not-available: user-v2: not-available"
    assert told["config"] == ["emea", None, {"region": "emea"}]
    assert told["secrets"] == ["secrets: expired: secrets: expired", ["a", "b"]]
    assert told["proxied"] == b"x!".hex()
    assert told["published"] == "events: refused: the topic must start with the extension's name"
    listed, absent, created = told["schedules"][:3]
    assert listed == [dict(zip(record(*fields, *times), SCHEDULE, strict=True))]
    assert (absent, created[name("success")], created[name("schedule_id")], created["error"]) == (
        None,
        True,
        "new",
        None,
    )
    if engine == "python":
        updated, deleted, endpoints = told["schedules"][3:]
        assert updated == {"success": False, "error": "not found", "field_errors": None}
        assert deleted == {"success": True, "error": None}
        assert endpoints == [dict(zip(("id", "method", "path", "handler", "schedulable"), ENDPOINT, strict=True))]


@every_guest
async def test_what_the_host_is_asked_has_the_types_of_the_world(engine: str, guest: Guest) -> None:
    _, calls = await guest.answer("/everything")
    asked = {(interface, function): arguments for interface, function, arguments in calls.asked}
    assert asked["metrics", "counter"] == ("calls", 1.0, [("kind", "test")])
    assert asked["ui-proxy", "call-route"] == ("status", b"x")
    assert asked["events", "publish"] == ("t", b"{}")
    assert asked["scheduler", "create-schedule"] == (("/x", "* * * * *", None, True, None, None),)


@every_guest
async def test_storage_keeps_bytes_and_revisions(engine: str, guest: Guest) -> None:
    told = await guest.json("/storage")
    assert told == {
        "put": {"namespace": "n", "key": "k", "value": "ä".encode().hex(), "revision": 8},
        "got": "storage: missing: storage: missing",
        "listed": [["k", 2**53 - 1], ["l", None]],
        "deleted": "nothing",
    }
    _, calls = await guest.answer("/storage")
    assert calls.asked[0] == ("storage", "put", (("n", "k", "ä".encode(), 7),))
    assert calls.asked[2] == ("storage", "list-entries", ("n", "j"))


@every_guest
async def test_a_fetch_sends_and_reads(engine: str, guest: Guest) -> None:
    told = await guest.json("/fetch?url=https%3A%2F%2Fa.example%2Fx%3Fy")
    method, url, headers, body = told.pop("sent")
    assert told == {"status": 404, "ok": False, "type": "application/json"}
    assert (method, url, body) == ("POST", "https://a.example/x?y", "a=b+c")
    assert headers[0] == ["x-a", "1"]
    if engine != "python":
        assert headers[1:] == [["content-type", "application/x-www-form-urlencoded;charset=UTF-8"]]


# ---- what JavaScript engines lack -----------------------------------------------------------------------------

ADDRESSES = [
    (["https://EXAMPLE.com:443/a/../b?x=1#y", None], ["https://example.com/b?x=1#y", "example.com", "/b"]),
    (["../x?y", "http://u@h:81/a/b/c"], ["http://u@h:81/a/x?y", "h:81", "/a/x"]),
    (["http://[1:0:0:2::3]/", None], ["http://[1:0:0:2::3]/", "[1:0:0:2::3]", "/"]),
    (["http://0x7f.1", None], ["http://127.0.0.1/", "127.0.0.1", "/"]),
    (["http://a/ä b", None], ["http://a/%C3%A4%20b", "a", "/%C3%A4%20b"]),
    (["x", None], "TypeError"),
    (["http://a:70000", None], "TypeError"),
    (["http://[::1", None], "TypeError"),
]


@every_js
async def test_addresses_read_alike_on_each_engine(engine: str, guest: Guest) -> None:
    told = await guest.json("/urls", [given for given, _ in ADDRESSES])
    seen = [one if isinstance(one, str) else [one["href"], one["host"], one["pathname"]] for one in told]
    assert seen == [expected for _, expected in ADDRESSES]


@every_js
async def test_a_query_prints_as_forms_do(engine: str, guest: Guest) -> None:
    told, _ = await guest.answer("/query?a=1&b=%C3%A4+x&c='%20")
    assert told.body == b"a=1&b=%C3%A4+x&c=%27+"


MALFORMED = [
    b"",
    b"plain",
    "ä€😀".encode() * 20,
    b"\xff",
    b"a\x80b",
    b"\xc0\xaf",
    b"\xe0\x80\x80x",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98",
    b"\xf4\x90\x80\x80",
    b"\xef\xbb\xbfmarked",
    b"long enough to take another way " * 4 + b"\xc3",
]


@every_js
async def test_bytes_become_text_as_the_standard_has_it(engine: str, guest: Guest) -> None:
    for data in MALFORMED:
        done, _ = await guest.answer("/texts", data)
        told = json.loads(done.body or b"")
        lossy = data.decode("utf-8", "replace")
        assert told["marked"] == lossy
        assert told["lossy"] == lossy.removeprefix("\ufeff")
        assert told["strict"] == ("TypeError" if "\ufffd" in lossy else lossy.removeprefix("\ufeff"))


@every_js
async def test_texts_become_bytes_as_the_standard_has_it(engine: str, guest: Guest) -> None:
    for text in ["", "plain", "ä€😀", "\0%41%u0041", "long: \u007f\u0080\u07ff\u0800\uffff\U00010000\U0010ffff " * 9]:
        done, _ = await guest.answer("/encoded", json.dumps({"text": text}).encode())
        assert done.body == text.encode()
    lone, _ = await guest.answer("/encoded", b'{"text":"a\\ud800b\\udc00 and more of it to be long enough"}')
    assert lone.body == "a\ufffdb\ufffd and more of it to be long enough".encode()


@every_js
async def test_the_console_reaches_the_debug_stream(engine: str, guest: Guest) -> None:
    _, calls = await guest.answer("/console")
    levels = [level for level, _, _ in calls.lines]
    streams = {stream for _, stream, _ in calls.lines}
    text = "\n".join(message for _, _, message in calls.lines)
    assert "line" in text
    assert "a warning" in text
    assert "an error" in text
    if engine == "quickjs":  # ours; StarlingMonkey has its own, which prints
        assert (levels, streams) == (["info", "warn", "error"], {"log"})
        assert calls.lines[0][2] == 'a line {"of":"1n"}'
    else:
        assert streams == {"stdout", "stderr"}
