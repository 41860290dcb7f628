"""Calls of the gateway: refusals keep their code, and nothing is followed, awaited or read without an end."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from aiohttp import web

from gateway.cli import rest
from gateway.cli.access import Target
from gateway.cli.failures import CliError, Exit
from gateway.cli.rest import Answer, RefusedError, connected, decoded
from tests.gateway.cli.small_gateway import as_json, refusing


class Body(msgspec.Struct):
    a: int


@pytest.fixture
async def gateway(small_gateway):
    async with connected(Target(small_gateway.url, "secret-token")) as found:
        yield found


async def test_the_credential_goes_with_every_call_and_cannot_be_replaced(small_gateway, gateway):
    small_gateway.on("GET", "/x", as_json({}))
    await gateway.call("GET", "/x", headers={"authorization": "Bearer other", "x-a": "b"})
    assert small_gateway.asked[0].headers["authorization"] == "Bearer secret-token"
    assert small_gateway.asked[0].headers["x-a"] == "b"


async def test_a_path_goes_out_byte_for_byte(small_gateway, gateway):
    await gateway.call("GET", "/api/ext/a%2Fb/x%20y//z?q=%41&r=+")
    assert small_gateway.asked[0].path == "/api/ext/a%2Fb/x%20y//z?q=%41&r=+"


async def test_a_body_is_sent_as_json_and_read_as_a_type(small_gateway, gateway):
    small_gateway.on("POST", "/x", as_json({"a": 2}, 201))
    answer = await gateway.post("/x", Body(a=1))
    assert (decoded(answer, Body), small_gateway.asked[0].json()) == (Body(a=2), {"a": 1})


async def test_a_refusal_keeps_code_status_members_and_says_the_next_step(small_gateway, gateway):
    violation = {"path": "$.a", "code": "range", "message": "must be less"}
    small_gateway.on("GET", "/x", refusing(422, "manifest_invalid", "too much", violations=[violation]))
    with pytest.raises(RefusedError, match=r"GET /x: 422 manifest_invalid: too much") as refused:
        await gateway.get("/x")
    error = refused.value
    assert (error.code, error.status, error.exit_status) == ("manifest_invalid", 422, Exit.FAILED)
    assert error.details == ("$.a: must be less",)
    assert error.document()["violations"] == [violation]
    assert error.next_step


@pytest.mark.parametrize(
    ("status", "code", "ends"),
    [
        (401, "unauthenticated", Exit.REFUSED),
        (403, "forbidden", Exit.REFUSED),
        (422, "signature_untrusted_key", Exit.REFUSED),
        (429, "rate_limited", Exit.REFUSED),
        (404, "not_installed", Exit.FAILED),
        (409, "version_exists", Exit.FAILED),
        (503, "access_policy_unavailable", Exit.FAILED),
        (418, "of_a_later_release", Exit.FAILED),
    ],
)
async def test_a_rule_that_said_no_is_told_from_a_failure(small_gateway, gateway, status, code, ends):
    small_gateway.on("DELETE", "/x", refusing(status, code, "no"))
    with pytest.raises(RefusedError) as refused:
        await gateway.delete("/x")
    assert refused.value.exit_status == ends
    assert refused.value.next_step
    assert refused.value.retry_after_s == (1 if status == 429 else 0)


async def test_an_answer_of_something_else_is_not_taken_for_the_platform(small_gateway, gateway):
    small_gateway.on("GET", "/x", lambda: web.Response(status=502, text="<html>proxy</html>"))
    with pytest.raises(RefusedError, match="is this the gateway's address"):
        await gateway.get("/x")


async def test_an_answer_of_another_release_is_an_error_and_no_traceback(small_gateway, gateway):
    small_gateway.on("GET", "/x", as_json({"b": 1}))
    with pytest.raises(CliError) as failed:
        decoded(await gateway.get("/x"), Body)
    assert failed.value.code == "cli_unexpected_answer"


async def test_a_redirect_is_not_followed(small_gateway, gateway):
    small_gateway.on("GET", "/x", lambda: web.Response(status=302, headers={"location": "/y"}))
    assert (await gateway.call("GET", "/x")).status == 302
    with pytest.raises(RefusedError):
        await gateway.get("/x")
    assert {one.path for one in small_gateway.asked} == {"/x"}


async def test_an_upload_is_streamed_with_its_length_and_told_of(small_gateway, gateway, tmp_path):
    file, told = tmp_path / "bundle", []
    file.write_bytes(bytes(700_000))
    small_gateway.on("POST", "/up", as_json({}))
    await gateway.upload("/up", file, told.append)
    asked = small_gateway.asked[0]
    assert (len(asked.body), asked.headers["content-length"], sum(told)) == (700_000, "700000", 700_000)
    assert len(told) > 1


async def test_a_large_body_is_sent_without_a_warning(small_gateway, gateway):
    await gateway.call("POST", "/x", data=bytes(3_000_000))
    assert len(small_gateway.asked[0].body) == 3_000_000


async def test_an_answer_over_the_limit_is_refused(small_gateway, gateway, monkeypatch):
    monkeypatch.setattr(rest, "CLI_ANSWER_MAX_BYTES", 1000)
    small_gateway.on("GET", "/at", lambda: web.Response(body=bytes(1000)))
    small_gateway.on("GET", "/above", lambda: web.Response(body=bytes(1001)))
    assert len((await gateway.call("GET", "/at")).body) == 1000
    with pytest.raises(CliError, match="more than 1000 bytes"):
        await gateway.call("GET", "/above")


async def test_no_call_waits_for_ever(small_gateway, gateway):
    async def never(_request):
        await asyncio.sleep(30)
        return web.Response()

    small_gateway.stream("/x", never)
    with pytest.raises(CliError, match="no answer in time"):
        await gateway.call("GET", "/x", within_s=0.1)


async def test_a_closed_port_is_an_error_that_names_the_address():
    async with connected(Target("http://127.0.0.1:9", "t")) as gateway:
        with pytest.raises(CliError, match=r"http://127\.0\.0\.1:9 does not answer") as failed:
            await gateway.get("/x")
    assert failed.value.code == "cli_unreachable"


def test_only_the_platform_refuses():
    problem, json = {"content-type": "application/problem+json"}, {"content-type": "application/json"}
    assert Answer(404, problem, b"").refusal
    assert not Answer(404, json, b"").refusal
    assert not Answer(200, problem, b"").refusal
