"""Between the world and a Python handler: requests, answers, and what becomes of an exception."""

from __future__ import annotations

import json
from typing import Any

import pytest
from alga_extension import (
    ContextData,
    Host,
    HostError,
    HttpError,
    Request,
    Response,
    answer,
    bytes_response,
    empty_response,
    entry,
    json_response,
    mock_host,
    text_response,
)
from hypothesis import given
from hypothesis import strategies as st


def failing(error: BaseException) -> Any:
    def handler(_request: Request, _host: Host) -> Response:
        raise error

    return handler


# ---- requests -------------------------------------------------------------------------------------------------


def test_a_request_offers_path_query_headers_and_context() -> None:
    context = ContextData(tenant_id="t", extension_id="e")
    request = Request("GET", "/a%20b?x=1&x=2&y=&z", headers=[("X-One", "a"), ("x-one", "b")], context=context)
    assert (request.method, request.path) == ("GET", "/a%20b")
    assert request.query == {"x": "1", "y": "", "z": ""}
    assert request.query_values("x") == ["1", "2"]
    assert (request.header("x-ONE"), request.header("absent")) == ("a", None)
    assert request.context is context
    assert (request.params, request.body) == ({}, b"")
    assert Request("GET", "/a").query == {}


def test_a_body_is_read_as_bytes_text_and_json() -> None:
    request = Request("POST", "/", body='{"a":"ä"}'.encode())
    assert request.text() == '{"a":"ä"}'
    assert request.json() == {"a": "ä"}
    assert Request("POST", "/", body=b"\xff").text() == "�"


@pytest.mark.parametrize(("body", "says"), [(None, "not JSON"), (b"{", "not JSON"), (b"\xff", "not UTF-8")])
def test_a_body_that_is_not_json_is_the_callers_fault(body: bytes | None, says: str) -> None:
    host = mock_host()
    told = answer(lambda request, _host: json_response(request.json()), Request("POST", "/", body=body), host)
    assert told.status == 400
    assert says in str(told.json())
    assert host.recorded.logs == []


# ---- answers --------------------------------------------------------------------------------------------------


def test_each_kind_of_answer_has_its_type_unless_another_is_named() -> None:
    assert json_response({"a": "ä"}) == Response(200, (("content-type", "application/json"),), '{"a":"ä"}'.encode())
    assert json_response(b"1", status=201).body == b"1"
    assert text_response("ä").headers == (("content-type", "text/plain; charset=utf-8"),)
    assert bytes_response(b"x").header("Content-Type") == "application/octet-stream"
    assert empty_response() == Response(204, (), None)
    named = bytes_response(b"", headers={"Content-Type": "image/png", "x": "1"})
    assert named.headers == (("Content-Type", "image/png"), ("x", "1"))
    assert empty_response(headers=[("a", "1"), ("a", "2")]).headers == (("a", "1"), ("a", "2"))
    with pytest.raises(TypeError):
        json_response(object())


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)))
def test_whatever_json_has_survives(value: object) -> None:
    assert json_response(value).json() == value


def test_a_lone_surrogate_never_leaves() -> None:
    assert json_response(["\ud800"]).body == b'["?"]'
    assert text_response("\ud800").body == b"?"
    told = answer(lambda _request, _host: empty_response(headers={"a": "ä\ud800"}), Request(), mock_host())
    assert told.headers == (("a", "ä?"),)


@pytest.mark.parametrize("status", [0, 200, 65535])
def test_a_status_that_the_border_takes_is_left_to_the_platform(status: int) -> None:
    assert answer(lambda _request, _host: empty_response(status), Request(), mock_host()).status == status


@pytest.mark.parametrize(
    "returned",
    [
        None,
        "text",
        {"status": 200},
        Response(-1),
        Response(65536),
        Response(True),
        Response("200"),  # type: ignore[arg-type]
        Response(200, (), "text"),  # type: ignore[arg-type]
        Response(200, (("a", 1),)),  # type: ignore[arg-type]
    ],
)
def test_what_the_border_cannot_take_is_a_500_and_a_line_that_says_what_was_wrong(returned: Any) -> None:
    host = mock_host()
    assert answer(lambda _request, _host: returned, Request(), host).status == 500
    ((level, message),) = host.recorded.logs
    assert level == "error"
    assert "TypeError: " in message


# ---- exceptions -----------------------------------------------------------------------------------------------


def test_an_http_error_is_answered_with_status_message_details_and_headers_and_is_nobodys_fault() -> None:
    host = mock_host()
    told = answer(failing(HttpError(429, "slow down", {"after": 5}, {"retry-after": "5"})), Request(), host)
    assert (told.status, told.json()) == (429, {"error": "slow down", "after": 5})
    assert told.header("retry-after") == "5"
    assert host.recorded.logs == []


@pytest.mark.parametrize("error", [ValueError("for the author"), HostError("storage", "denied"), RecursionError()])
def test_any_other_exception_is_a_500_that_tells_the_caller_nothing_and_the_log_everything(error: Exception) -> None:
    host = mock_host()
    told = answer(failing(error), Request(), host)
    assert (told.status, told.json()) == (500, {"error": "internal error"})
    ((level, message),) = host.recorded.logs
    assert level == "error"
    assert message.startswith("Traceback")
    assert message.splitlines()[-1].endswith(f"{type(error).__name__}: {error}".removesuffix(": "))
    assert "in handler" in message


@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt()])
def test_what_ends_the_interpreter_is_left_to_the_platform(error: BaseException) -> None:
    with pytest.raises(type(error)):
        answer(failing(error), Request(), mock_host())


# ---- errors ---------------------------------------------------------------------------------------------------


def test_an_error_of_the_host_has_its_interface_and_code() -> None:
    error = HostError("ui-proxy", "route-not-found")
    assert (error.interface, error.code, str(error)) == ("ui-proxy", "route-not-found", "ui-proxy: route-not-found")
    assert str(HostError("events", "refused", "because")) == "because"


# ---- outside of a component -----------------------------------------------------------------------------------


def test_an_app_can_be_imported_where_there_is_no_world_and_says_so_when_it_is_called() -> None:
    world = entry(lambda _request, _host: empty_response())
    with pytest.raises(RuntimeError, match="mock_host"):
        world().handler(None)


def test_the_parts_of_the_package_are_what_its_documentation_promises() -> None:
    import alga_extension

    promised = {"Request", "Response", "Router", "HttpError", "HostError", "Host", "entry", "mock_host", "answer"}
    promised |= {f"{kind}_response" for kind in ("json", "text", "bytes", "empty")}
    assert promised <= set(vars(alga_extension))
    assert json.loads(text_response("1").body or b"") == 1
