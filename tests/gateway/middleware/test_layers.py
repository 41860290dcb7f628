"""What every request passes: its id, one place for errors, a bounded body."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.middleware import problems
from gateway.middleware.bodies import Bodies, Budget
from gateway.middleware.heads import Heads
from gateway.middleware.problems import Problems
from gateway.middleware.request_id import RequestIds, note
from shared.errors import AccessPolicyUnavailable, Forbidden
from shared.limits import HEADER_BLOCK_MAX_BYTES, URL_MAX_BYTES
from tests.gateway.asgi import Answer, Client


def app(act: Callable[[Scope, Receive, Send], Awaitable[None]], budget: Budget | None = None) -> Client:
    inner: ASGIApp = act
    special = {("POST", "/"): budget} if budget else {}
    return Client(RequestIds(Problems(Bodies(inner, special))))


async def read_all(scope: Scope, receive: Receive, send: Send) -> None:
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body", False):
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-size", str(size).encode())]})
    await send({"type": "http.response.body", "body": b"ok"})


def raising(error: BaseException) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    return act


async def in_parts(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


# ---- request ids --------------------------------------------------------------------------------------------


async def test_a_harmless_id_is_kept_everywhere() -> None:
    seen = {}

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        seen["state"] = scope["state"]["request_id"]
        seen["log"] = structlog.contextvars.get_contextvars()["request_id"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Request-Id", b"another")]})
        await send({"type": "http.response.body"})

    answer = await app(act).get("/", x_request_id="abc.1:2-3_4")
    assert [value for name, value in answer.headers if name.lower() == b"x-request-id"] == [b"abc.1:2-3_4"]
    assert seen == {"state": "abc.1:2-3_4", "log": "abc.1:2-3_4"}
    assert structlog.contextvars.get_contextvars() == {}


@pytest.mark.security
@pytest.mark.parametrize("given", [b"", b"a b", b"x" * 129, b"a\r\nb: c", b"\xff", b'{"a":1}'])
async def test_an_id_that_could_do_harm_is_replaced(given: bytes) -> None:
    answer = await app(read_all).request("GET", "/", headers=[(b"x-request-id", given)])
    found = answer.header("x-request-id")
    assert found is not None
    assert found.encode() != given
    assert len(found) == 36


# ---- the line in the log ------------------------------------------------------------------------------------


async def line_of(client: Client, method: str, path: str, headers: dict[str, str] | None = None) -> dict[str, object]:
    """The line that one request leaves; its duration, which varies, is taken out."""
    with structlog.testing.capture_logs() as lines:
        await client.request(method, path, headers=headers or {})
    (line,) = [line for line in lines if line["event"] == "request"]
    assert line.pop("duration_ms") >= 0
    return dict(line)


async def test_a_request_leaves_one_line_without_its_query() -> None:
    line = await line_of(app(read_all), "POST", "/a/b?token=hidden")
    assert line == {"event": "request", "log_level": "info", "method": "POST", "path": "/a/b", "status": 200}


async def test_the_line_of_a_refusal_names_its_code() -> None:
    line = await line_of(app(raising(Forbidden("no"))), "GET", "/a")
    assert (line["status"], line["code"]) == (403, "forbidden")


async def test_what_was_found_out_on_the_way_stands_in_the_line() -> None:
    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        note(scope, tenant_id="acme")
        await read_all(scope, receive, send)

    assert (await line_of(app(act), "GET", "/"))["tenant_id"] == "acme"


async def test_what_is_asked_all_the_time_leaves_a_line_only_when_it_fails() -> None:
    with structlog.testing.capture_logs() as lines:
        await app(read_all).request("GET", "/healthz")
    assert lines == []
    assert (await line_of(app(raising(AccessPolicyUnavailable("no"))), "GET", "/readyz"))["status"] == 503


# ---- errors -------------------------------------------------------------------------------------------------


async def test_our_errors_become_their_status_with_their_members() -> None:
    answer = await app(raising(Forbidden("needs x", permission="x"))).get("/")
    assert answer.status == 403
    assert answer.json()["permission"] == "x"


async def test_an_error_cannot_overwrite_the_members_everyone_reads() -> None:
    answer = await app(raising(Forbidden("no", status=200, code="ok", request_id="x"))).get("/", x_request_id="mine")
    assert {name: answer.json()[name] for name in ("status", "code", "request_id")} == {
        "status": 403,
        "code": "forbidden",
        "request_id": "mine",
    }


async def test_a_retry_after_becomes_the_header() -> None:
    answer = await app(raising(AccessPolicyUnavailable(retry_after_s=7))).get("/")
    assert (answer.status, answer.header("retry-after")) == (503, "7")


async def test_the_routers_refusals_have_the_same_shape() -> None:
    answer = await app(raising(HTTPException(405, headers={"Allow": "GET"}))).get("/")
    assert (answer.status, answer.json()["code"], answer.header("allow")) == (405, "method_not_allowed", "GET")


async def test_a_fault_of_ours_tells_nothing_about_itself() -> None:
    answer = await app(raising(RuntimeError("the password is hunter2"))).get("/")
    assert (answer.status, answer.json()["code"]) == (500, "internal")
    assert b"hunter2" not in answer.body


async def test_an_answer_that_fails_in_the_middle_is_cut_not_completed() -> None:
    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise Forbidden

    answer = await app(act).get("/")
    assert (answer.status, answer.body, answer.ended) == (200, b"half", False)


async def test_a_cancelled_request_stays_cancelled() -> None:
    with pytest.raises(asyncio.CancelledError):
        await app(raising(asyncio.CancelledError())).get("/")


async def test_a_refusal_before_the_body_closes_the_connection() -> None:
    unread = await app(raising(Forbidden())).request("POST", "/", headers={"content-length": "5"}, body=b"hello")
    assert unread.header("connection") == "close"
    without_body = await app(raising(Forbidden())).get("/")
    assert without_body.header("connection") is None


async def test_what_a_refused_client_still_sends_is_read_so_that_its_answer_arrives() -> None:
    sent: list[int] = []

    async def parts() -> AsyncIterator[bytes]:
        for number in range(5):
            sent.append(number)
            yield b"part"

    answer = await app(raising(Forbidden())).request("POST", "/", headers={"content-length": "20"}, body=parts())
    assert (answer.status, sent) == (403, [0, 1, 2, 3, 4])


async def test_of_a_body_that_nobody_wants_only_so_much_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problems, "UNWANTED_BODY_MAX_BYTES", 10)
    sent: list[int] = []

    async def parts() -> AsyncIterator[bytes]:
        for number in range(9):
            sent.append(number)
            yield b"four"

    await app(raising(Forbidden())).request("POST", "/", headers={"content-length": "36"}, body=parts())
    assert sent == [0, 1, 2]


async def test_a_client_that_keeps_its_refused_body_back_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problems, "UNWANTED_BODY_MAX_MS", 1)

    async def never() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    answer = await app(raising(Forbidden())).request("POST", "/", headers={"content-length": "20"}, body=never())
    assert answer.status == 403


async def test_a_head_request_gets_no_body() -> None:
    answer = await app(raising(Forbidden())).request("HEAD", "/")
    assert (answer.status, answer.body) == (403, b"")


# ---- heads ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("over", "status"), [(-1, 200), (0, 200), (1, 431)])
async def test_a_header_block_is_as_large_as_the_limit_and_no_larger(over: int, status: int) -> None:
    value = b"x" * (HEADER_BLOCK_MAX_BYTES - len("x-long") + over)
    answer = await Client(RequestIds(Problems(Heads(read_all)))).request("GET", "/", headers=[(b"x-long", value)])
    assert answer.status == status


@pytest.mark.parametrize(("over", "status"), [(-1, 200), (0, 200), (1, 400)])
async def test_a_target_is_as_long_as_the_limit_and_no_longer(over: int, status: int) -> None:
    client = Client(RequestIds(Problems(Heads(read_all))))
    assert (await client.get("/" + "x" * (URL_MAX_BYTES - 1 + over))).status == status
    assert (await client.get("/?" + "x" * (URL_MAX_BYTES - 1 + over))).status == status


# ---- bodies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "status"), [(9, 200), (10, 200), (11, 413)])
async def test_a_body_is_as_large_as_its_budget_and_no_larger(size: int, status: int) -> None:
    client = app(read_all, Budget(max_bytes=10))
    announced = await client.request("POST", "/", headers={"content-length": str(size)}, body=b"x" * size)
    streamed = await client.request("POST", "/", body=in_parts(b"x" * 5, b"x" * (size - 5)))
    assert (announced.status, streamed.status) == (status, status)
    if status == 413:
        assert announced.json()["max_bytes"] == 10


@pytest.mark.security
@pytest.mark.parametrize("length", ["+5", "-1", "5 ", "0x5", "", "5,5", "\u0665"])
async def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    answer = await app(read_all).request("POST", "/", headers=[(b"content-length", length.encode())], body=b"hello")
    assert (answer.status, answer.json()["code"]) == (400, "invalid_request")


async def test_a_length_of_many_digits_is_too_large() -> None:
    assert (await app(read_all).request("POST", "/", headers={"content-length": "9" * 400})).status == 413


async def test_a_body_that_dribbles_in_is_refused_in_time() -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    answer: Answer = await app(read_all, Budget(max_ms=50)).request("POST", "/", body=slow())
    assert (answer.status, answer.json()["code"]) == (408, "request_timeout")


async def test_waiting_for_a_client_to_leave_has_no_deadline() -> None:
    left = asyncio.Event()

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.15):
                await receive()
        left.set()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    assert (await app(act, Budget(max_ms=50)).request("POST", "/", body=b"x")).status == 200
    assert left.is_set()


async def test_other_protocols_pass_through() -> None:
    seen = []

    async def act(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def nothing() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    async def ignore(message: object) -> None:
        return None

    await RequestIds(Problems(Bodies(act)))({"type": "lifespan"}, nothing, ignore)
    assert seen == ["lifespan"]
