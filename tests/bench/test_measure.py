"""The generator and the arithmetic around it: percentiles, rates, processor time, what counts as an answer."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import statistics
import time
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench import fairness, load
from tests.bench.figures import median, percentile
from tests.bench.load import Result, is_whole, read_requests
from tests.bench.measure import Load, Measured, SilentError, cpu_s, descendants, related

VALUES = st.lists(st.floats(0, 1e6), min_size=1, max_size=300)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 busy\r\ncontent-length: 0\r\n\r\n"


# ---- percentiles --------------------------------------------------------------------------------------------


def test_percentiles_are_measured_values_by_nearest_rank() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert [percentile(values, percent) for percent in (1, 50, 99, 100)] == [1.0, 50.0, 99.0, 100.0]
    assert [percentile([1.0, 2.0, 3.0], percent) for percent in (1, 33, 34, 66, 67, 99)] == [1, 1, 2, 2, 3, 3]
    assert percentile([7.0], 99) == 7.0


def test_of_sixty_values_the_p99_is_the_largest_and_of_two_hundred_the_third() -> None:
    assert percentile([float(number) for number in range(60)], 99) == 59.0
    assert percentile([float(number) for number in range(200)], 99) == 197.0


@given(VALUES, st.integers(1, 100))
def test_enough_values_are_at_or_below_a_percentile_and_no_smaller_value_has_enough(
    values: list[float], percent: int
) -> None:
    found = percentile(values, percent)
    assert found in values
    assert 100 * sum(value <= found for value in values) >= percent * len(values)
    assert 100 * sum(value < found for value in values) < percent * len(values)


@given(VALUES)
def test_the_median_is_the_lower_middle_value(values: list[float]) -> None:
    assert median(values) == statistics.median_low(values)


@pytest.mark.parametrize(("values", "percent"), [([], 50), ([1.0], 0), ([1.0], 101)])
def test_nothing_measured_and_no_percentile_are_errors(values: list[float], percent: int) -> None:
    with pytest.raises(ValueError, match=r"measured|1 to 100"):
        percentile(values, percent)


# ---- what a run showed --------------------------------------------------------------------------------------


def result(answers: int = 80, answers_in_all: int = 100) -> Result:
    return Result(answers, answers_in_all, failures={"429": 2, "lost": 1}, seconds=4.0, p50_ms=1.5, p99_ms=9.0)


def test_the_rate_is_of_what_was_counted_and_processor_time_of_everything_it_was_spent_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = related(result(), spent_s=0.25)
    assert "2 × 429, 1 × lost" in capsys.readouterr().err
    assert found == Measured(p50_ms=1.5, p99_ms=9.0, per_s=20.0, cpu_ms=2.5, answers=100, failures=3)


def test_a_server_that_answered_nothing_has_no_figures() -> None:
    with pytest.raises(SilentError, match="429"):
        related(result(0, 0), spent_s=0.25)


@pytest.mark.parametrize(("alone_ms", "bar"), [(1.0, 2.0), (2.0, 1.5), (20.0, 1.5)])
def test_beside_a_neighbour_a_p99_may_rise_by_half_or_by_a_millisecond(alone_ms: float, bar: float) -> None:
    alone = Measured(p50_ms=0.5, p99_ms=alone_ms, per_s=1, cpu_ms=1, answers=1, failures=0)
    assert math.isclose(fairness.p99_bar(alone), bar)


def test_processor_time_is_of_this_process_and_what_is_below_it() -> None:
    assert os.getpid() in descendants(os.getpid())
    before = cpu_s(os.getpid())
    until = time.process_time() + 0.2
    while time.process_time() < until:
        continue
    assert 0.1 <= cpu_s(os.getpid()) - before <= 2.0


# ---- the generator ------------------------------------------------------------------------------------------


def test_requests_are_written_as_they_are_read() -> None:
    raws = [Load("http://127.0.0.1:1/a").raw(), Load("http://127.0.0.1:1/b", "POST", {"x-a": "b"}, b"body").raw(), b""]
    assert raws[1] == b"POST /b HTTP/1.1\r\nhost: 127.0.0.1:1\r\nx-a: b\r\ncontent-length: 4\r\n\r\nbody"
    assert read_requests(b"".join(len(raw).to_bytes(4, "little") + raw for raw in raws)) == raws


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        (OK, True),
        (OK[:-1], False),
        (OK[:20], False),
        (BUSY, True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", True),
    ],
)
def test_an_answer_is_whole_when_its_length_or_its_last_chunk_is_there(answer: bytes, whole: bool) -> None:
    assert is_whole(answer) is whole


@contextlib.asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that gives these answers in turn, the last one for ever; an empty one hangs up."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                seen.append(await reader.readuntil(b"\r\n\r\n"))
                answer = answers[min(len(seen), len(answers)) - 1]
                if not answer:
                    break
                writer.write(answer)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], seen


async def test_each_request_is_sent_once_where_that_is_asked_and_all_answers_count() -> None:
    requests = [Load(f"http://127.0.0.1/{number}").raw() for number in range(40)]
    async with answering(OK) as (port, seen):
        found = await load.run("127.0.0.1", port, 4, 20, requests, once=True)
    assert sorted(seen) == sorted(requests)
    assert (found.answers, found.answers_in_all, found.failures) == (40, 40, {})
    assert found.seconds < 10
    assert 0 < found.p50_ms <= found.p99_ms


async def test_a_loop_goes_on_until_its_time_is_over_and_its_beginning_is_not_counted() -> None:
    async with answering(OK) as (port, seen):
        found = await load.run("127.0.0.1", port, 2, 0.5, [Load("http://127.0.0.1/").raw()])
    assert 0 < found.answers < found.answers_in_all == len(seen)
    assert found.failures == {}
    assert 0.3 <= found.seconds <= 5


async def test_refusals_and_lost_connections_are_failures() -> None:
    requests = [Load("http://127.0.0.1/").raw()] * 3
    async with answering(OK, BUSY, b"") as (port, _):
        found = await load.run("127.0.0.1", port, 1, 20, requests, once=True)
    assert (found.answers, found.failures) == (2, {"503": 1, "lost": 1})


async def test_a_server_that_hangs_up_at_once_leaves_no_answer() -> None:
    async with answering(b"") as (port, _):
        found = await load.run("127.0.0.1", port, 1, 20, [Load("http://127.0.0.1/").raw()], once=True)
    assert (found.answers, found.failures) == (0, {"lost": 1})
