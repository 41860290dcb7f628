"""`/internal/scheduler`: a running guest's schedules, for its own host token and for nothing else."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.store.storage import Asker
from shared import scheduler
from shared.keys import PrivateKey
from shared.limits import SCHEDULES_MAX_COUNT, TIMEOUT_MAX_MS
from shared.scheduler import (
    EndpointItem,
    EndpointItems,
    EndpointList,
    ScheduleChanged,
    ScheduleCreate,
    ScheduleDelete,
    ScheduleFound,
    ScheduleGet,
    ScheduleItems,
    ScheduleList,
    ScheduleUpdate,
)
from tests.gateway.asgi import Answer, Client
from tests.gateway.people import Host
from tests.gateway.registry_flow import refused
from tests.gateway.seeds import seed
from tests.gateway.services import DatabaseUrls
from tests.gateway.storage.guests import host_token, send
from tests.gateway.storage.keeping import asking

CREATE = ScheduleCreate(endpoint="/notes", cron="0 8 * * *", timeout_ms=1000)
QUESTIONS: dict[str, Any] = {
    scheduler.LIST_PATH: ScheduleList(timeout_ms=1000),
    scheduler.GET_PATH: ScheduleGet(id="x", timeout_ms=1000),
    scheduler.CREATE_PATH: CREATE,
    scheduler.UPDATE_PATH: ScheduleUpdate(id="x", timeout_ms=1000),
    scheduler.DELETE_PATH: ScheduleDelete(id="x", timeout_ms=1000),
    scheduler.ENDPOINTS_PATH: EndpointList(timeout_ms=1000),
}


@pytest.fixture
def asker(database: DatabaseUrls) -> Asker:
    return asking(seed(database, "acme", caps=(scheduler.CAPABILITY,)))


@pytest.fixture
def bearer(asker: Asker, gateway_key: PrivateKey) -> dict[str, str]:
    return {"authorization": f"Bearer {host_token(gateway_key, asker, caps=(scheduler.CAPABILITY,))}"}


def said(answer: Answer, kind: type[Any]) -> Any:
    assert (answer.status, answer.header("content-type")) == (200, "application/msgpack"), answer.body
    return msgspec.msgpack.decode(answer.body, type=kind)


async def test_a_guest_arranges_its_schedules(internal: Client, bearer: dict[str, str]) -> None:
    async def ask(path: str, question: Any, kind: type[Any]) -> Any:
        return said(await send(internal, path, question, **bearer), kind)

    full = msgspec.structs.replace(CREATE, timezone="Europe/Berlin", name="n", payload="{}", enabled=False)
    made = await ask(scheduler.CREATE_PATH, full, ScheduleChanged)
    assert (made.error, made.field_errors) == (None, {})
    (item,) = (await ask(scheduler.LIST_PATH, QUESTIONS[scheduler.LIST_PATH], ScheduleItems)).items
    assert (item.id, item.endpoint_method, item.endpoint_path) == (made.schedule_id, "POST", "/notes")
    assert (item.cron, item.timezone, item.enabled, item.name, item.payload) == (
        "0 8 * * *",
        "Europe/Berlin",
        False,
        "n",
        "{}",
    )
    assert (item.last_run_at, item.last_run_status, item.last_error) == (None, None, None)
    assert item.created_at.endswith("Z")
    changed = ScheduleUpdate(id=made.schedule_id, cron="30 6 * * *", enabled=True, timeout_ms=1000)
    assert (await ask(scheduler.UPDATE_PATH, changed, ScheduleChanged)).schedule_id == made.schedule_id
    found = (await ask(scheduler.GET_PATH, ScheduleGet(id=made.schedule_id, timeout_ms=1000), ScheduleFound)).item
    assert found == msgspec.structs.replace(item, cron="30 6 * * *", enabled=True)
    gone = ScheduleDelete(id=made.schedule_id, timeout_ms=1000)
    assert (await ask(scheduler.DELETE_PATH, gone, ScheduleChanged)).error is None
    assert (
        await ask(scheduler.GET_PATH, ScheduleGet(id=made.schedule_id, timeout_ms=1000), ScheduleFound)
    ).item is None
    assert (await ask(scheduler.LIST_PATH, QUESTIONS[scheduler.LIST_PATH], ScheduleItems)).items == ()


async def test_the_endpoints_are_the_manifests(internal: Client, bearer: dict[str, str]) -> None:
    answer = await send(internal, scheduler.ENDPOINTS_PATH, QUESTIONS[scheduler.ENDPOINTS_PATH], **bearer)
    assert said(answer, EndpointItems).items == (
        EndpointItem(id="GET /notes/:id", method="GET", path="/notes/:id", handler="", schedulable=False),
        EndpointItem(id="POST /notes", method="POST", path="/notes", handler="", schedulable=True),
    )


@pytest.mark.parametrize(
    ("path", "question", "error", "fields"),
    [
        (
            scheduler.CREATE_PATH,
            msgspec.structs.replace(CREATE, endpoint="GET /notes/:id", cron="* * * * *"),
            "validation-failed: endpoint: must be one of: POST /notes; cron: ",
            {"endpoint", "cron"},
        ),
        (
            scheduler.CREATE_PATH,
            msgspec.structs.replace(CREATE, payload="{"),
            "validation-failed: payload",
            {"payload"},
        ),
        (scheduler.UPDATE_PATH, QUESTIONS[scheduler.UPDATE_PATH], "not-found: ", set()),
        (scheduler.DELETE_PATH, QUESTIONS[scheduler.DELETE_PATH], "not-found: ", set()),
    ],
)
async def test_a_refusal_of_what_was_asked_is_an_answer_with_words(
    internal: Client, bearer: dict[str, str], path: str, question: Any, error: str, fields: set[str]
) -> None:
    changed = said(await send(internal, path, question, **bearer), ScheduleChanged)
    assert changed.schedule_id is None
    assert str(changed.error).startswith(error)
    assert set(changed.field_errors) == fields


async def test_one_too_many_is_refused_with_the_quota(internal: Client, bearer: dict[str, str]) -> None:
    for _ in range(SCHEDULES_MAX_COUNT):
        assert said(await send(internal, scheduler.CREATE_PATH, CREATE, **bearer), ScheduleChanged).error is None
    changed = said(await send(internal, scheduler.CREATE_PATH, CREATE, **bearer), ScheduleChanged)
    assert changed.error == "quota-exceeded: an install may have at most 50 schedules; remove one first"


@pytest.mark.security
async def test_only_the_host_token_of_a_call_that_was_granted_it_is_taken(
    internal: Client, host: Host, asker: Asker, gateway_key: PrivateKey, runner_key: PrivateKey
) -> None:
    caps = (scheduler.CAPABILITY,)
    for path, question in QUESTIONS.items():
        for headers in (
            {},
            host.headers(),
            {"authorization": f"Bearer {host_token(runner_key, asker, caps=caps)}"},
            {"authorization": f"Bearer {host_token(gateway_key, asker, caps=caps, now=1_000_000)}"},
        ):
            refused(await send(internal, path, question, **headers), 401, "unauthorized")
        without = {"authorization": f"Bearer {host_token(gateway_key, asker, caps=('cap:storage.kv',))}"}
        refused(await send(internal, path, question, **without), 403, "forbidden")


@pytest.mark.security
async def test_a_grant_that_was_withdrawn_ends_a_running_guests_right(
    internal: Client, database: DatabaseUrls, gateway_key: PrivateKey
) -> None:
    bare = asking(seed(database, "acme"))
    changed = asking(seed(database, "acme", caps=(scheduler.CAPABILITY,), generation=2))
    for one in (bare, changed):
        token = {"authorization": f"Bearer {host_token(gateway_key, one, caps=(scheduler.CAPABILITY,))}"}
        for path, question in QUESTIONS.items():
            refused(await send(internal, path, question, **token), 403, "forbidden")


@pytest.mark.parametrize("timeout_ms", [0, -1, TIMEOUT_MAX_MS + 1])
async def test_a_question_has_the_calls_time(internal: Client, bearer: dict[str, str], timeout_ms: int) -> None:
    question = ScheduleList(timeout_ms=timeout_ms)
    refused(await send(internal, scheduler.LIST_PATH, question, **bearer), 400, "invalid_request")


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x80", msgspec.msgpack.encode({"timeout_ms": "x"})])
async def test_what_is_no_question_is_refused(internal: Client, bearer: dict[str, str], body: bytes) -> None:
    refused(await send(internal, scheduler.CREATE_PATH, body, **bearer), 400, "invalid_request")
