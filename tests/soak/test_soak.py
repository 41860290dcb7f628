"""A short soak as part of the suite, and proof that the long one would notice what it looks for."""

from __future__ import annotations

import pytest

from deploy.local.record import Extension
from shared import wire
from shared.limits import MIB
from tests.soak import executions, processes
from tests.soak.asking import Ask, Told
from tests.soak.executions import SLOPE_FROM_CALLS, Findings
from tests.soak.expecting import KILLS_PER_1000, TIMEOUTS_PER_1000, TRAPS_PER_1000, Plan, answered_json, refused
from tests.soak.processes import Reading

CALLS = 1_500
EXTENSIONS = [
    Extension(
        id="11111111-1111-4111-8111-111111111111",
        name=f"alga.samples.{name}",
        version="1.0.0",
        content_hash="sha256:" + "a" * 64,
        install_id="22222222-2222-4222-8222-222222222222",
        tenant_id="acme",
    )
    for name in ("hello-python", "hello-quickjs", "hello-starling")
]
ASK = Ask(extension=EXTENSIONS[0], tenant="acme", path="/hello")
USAGE = wire.Usage(duration_ms=1, cpu_ms=1, memory_peak_bytes=1, host_calls=3)


def test_every_thousand_calls_fail_as_often_as_they_must_and_the_same_seed_asks_the_same() -> None:
    def kinds(seed: int) -> list[tuple[str, str, str]]:
        plan = Plan(["a", "b"], EXTENSIONS, seed)
        drawn = [plan.next() for _ in range(2_000)]
        return [(expected.kind, expected.ask.tenant, expected.ask.path) for expected in drawn]

    first = kinds(1)
    for block in (first[:1000], first[1000:]):
        counted = [sum(kind == name for kind, _, _ in block) for name in ("trap", "timeout", "kill")]
        assert counted == [TRAPS_PER_1000, TIMEOUTS_PER_1000, KILLS_PER_1000]
    assert kinds(1) == first
    assert kinds(2) != first


def told(answer: wire.ExecuteResponse, status: int = 200) -> Told:
    return Told(status, answer, b"")


RIGHT = wire.ExecuteResponse(status=200, body=b'{"tenant":"acme"}', usage=USAGE)
REFUSAL = wire.ExecuteResponse(
    status=502, error=wire.ErrorBody(code="guest_trapped", message="", blame="guest", started=True), usage=USAGE
)


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (RIGHT, False),
        (wire.ExecuteResponse(status=200, body=b'{"tenant":"globex"}', usage=USAGE), True),
        (wire.ExecuteResponse(status=404, body=b'{"tenant":"acme"}', usage=USAGE), True),
        (wire.ExecuteResponse(status=200, body=b'{"tenant":"acme"}'), True),
        (wire.ExecuteResponse(status=200, body=b'{"tenant":"acme"}', usage=wire.Usage(duration_ms=1, cpu_ms=1)), True),
    ],
)
def test_an_answer_of_another_tenant_status_or_without_its_usage_is_wrong(
    answer: wire.ExecuteResponse, wrong: bool
) -> None:
    assert bool(answered_json({"tenant": "acme"}, host_calls=3)(told(answer))) is wrong


def test_a_refusal_with_another_code_or_an_answer_in_its_place_is_wrong() -> None:
    check = refused("guest_trapped", 502)
    assert check(told(REFUSAL, 502)) == ""
    assert check(told(REFUSAL, 200))
    assert check(told(RIGHT))
    assert refused("guest_timeout", 504)(told(REFUSAL, 502))


def test_an_answer_that_cannot_be_read_is_counted_as_wrong() -> None:
    found, plan = Findings(), Plan(["acme"], EXTENSIONS, 1)
    expected = next(one for one in iter(plan.next, None) if one.kind == "context")
    found.take(expected, told(wire.ExecuteResponse(status=200, body=b"not JSON", usage=USAGE)))
    found.take(expected, told(wire.ExecuteResponse(status=200, body=b"{}", usage=USAGE)))
    assert len(found.wrong) == 2


@pytest.mark.parametrize(("growth", "slope"), [(0, 0.0), (MIB, 10.0), (-MIB, -10.0)])
def test_growth_is_told_for_ten_thousand_calls(growth: int, slope: float) -> None:
    calls = list(range(0, 10_000, 1_000))
    sizes = [100 * MIB + growth * number for number in range(10)]
    assert processes.slope_mib(calls, sizes) == pytest.approx(slope)
    assert processes.slope_mib(calls[:1], sizes[:1]) == 0


def test_a_leak_and_a_zombie_miss_their_bars_and_a_flat_run_does_not() -> None:
    def missed(leak: int, zombies: int, descriptors: int) -> set[str]:
        found = Findings()
        found.calls = SLOPE_FROM_CALLS
        found.readings = [
            reading(number * 1_000, 100 * MIB + number * leak, zombies=zombies, descriptors=100 + number * descriptors)
            for number in range(20)
        ]
        return {row.name for row in executions.rows_of(found, 1.0) if row.met is False}

    assert missed(0, 0, 0) == set()
    assert missed(MIB // 5, 0, 0) == {"workers: memory in 10,000 calls"}
    assert missed(0, 1, 1) == {"zombies", "descriptors more than at first"}


def reading(calls: int, workers_bytes: int, zombies: int = 0, descriptors: int = 100) -> Reading:
    return Reading(
        calls=calls,
        workers_bytes=workers_bytes,
        sandboxes=10,
        sandbox_bytes=5.0 * MIB,
        descriptors=descriptors,
        zombies=zombies,
        processes=frozenset(),
    )
