"""Which runner takes a call: the same key prefers the same one, nobody gets more than a bounded share."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.retry import RetryBudget
from gateway.proxy.runners import LOAD_BOUND, Fleet, system_lookup
from shared.limits import RUNNER_DOWN_S

URLS = tuple(f"http://10.0.0.{number}:8080" for number in range(1, 6))


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


async def _no_lookup(host: str, port: int) -> tuple[str, ...]:
    raise AssertionError("nothing to look up")


def _fleet(urls: tuple[str, ...] = URLS, clock: Clock | None = None) -> Fleet:
    return Fleet(urls, clock or Clock(), _no_lookup)


def test_a_key_keeps_its_runner() -> None:
    fleet = _fleet()
    assert len({fleet.choose("sha256:ab/acme").base_url for _ in range(50)}) == 1


def test_keys_spread_over_all_runners() -> None:
    counts = Counter(_fleet().choose(f"key-{number}").base_url for number in range(1000))
    assert set(counts) == set(URLS)
    assert min(counts.values()) > 120


def test_a_runner_that_leaves_moves_only_its_own_keys() -> None:
    before = {f"key-{number}": _fleet().choose(f"key-{number}").base_url for number in range(300)}
    fewer = _fleet(URLS[:-1])
    moved = {key for key, url in before.items() if fewer.choose(key).base_url != url}
    assert moved == {key for key, url in before.items() if url == URLS[-1]}


@given(st.lists(st.sampled_from(["hot", "warm", "cold"]), max_size=200))
def test_no_runner_gets_more_than_its_bounded_share(keys: list[str]) -> None:
    fleet = _fleet()
    for count, key in enumerate(keys, start=1):
        fleet.choose(key).in_flight += 1
        assert max(runner.in_flight for runner in fleet.runners) <= LOAD_BOUND * count / len(URLS) + 1


def test_a_runner_that_refused_is_asked_last_for_a_while() -> None:
    clock = Clock()
    fleet = _fleet(clock=clock)
    first = fleet.choose("key")
    fleet.refused(first)
    assert fleet.choose("key") is not first
    clock.now_s += RUNNER_DOWN_S
    assert fleet.choose("key") is first


def test_when_all_refused_one_is_still_asked() -> None:
    fleet = _fleet()
    for runner in fleet.runners:
        fleet.refused(runner)
    assert fleet.choose("key") in fleet.runners


def test_the_excluded_runner_is_taken_only_when_there_is_no_other() -> None:
    fleet = _fleet()
    first = fleet.choose("key")
    assert fleet.choose("key", exclude=first) is not first
    only = _fleet(URLS[:1])
    assert only.choose("key", exclude=only.runners[0]) is only.runners[0]


async def test_a_name_becomes_its_addresses_and_follows_them() -> None:
    answers: list[tuple[str, ...]] = [("10.1.0.1", "10.1.0.2"), ("10.1.0.2", "fd00::3"), ()]

    async def lookup(host: str, port: int) -> tuple[str, ...]:
        assert (host, port) == ("runner.internal", 8080)
        return answers.pop(0)

    fleet = Fleet(("http://runner.internal:8080",), Clock(), lookup)
    await fleet.refresh()
    assert [runner.base_url for runner in fleet.runners] == ["http://10.1.0.1:8080", "http://10.1.0.2:8080"]
    assert {runner.server_name for runner in fleet.runners} == {"runner.internal:8080"}
    kept = fleet.runners[1]
    kept.in_flight = 3
    await fleet.refresh()
    assert [runner.base_url for runner in fleet.runners] == ["http://10.1.0.2:8080", "http://[fd00::3]:8080"]
    assert fleet.runners[0] is kept
    await fleet.refresh()
    assert len(fleet.runners) == 2


async def test_a_failed_look_up_keeps_what_is_known() -> None:
    async def lookup(host: str, port: int) -> tuple[str, ...]:
        raise OSError("no such name")

    fleet = Fleet(("http://runner.internal:8080",), Clock(), lookup)
    await fleet.refresh()
    assert [runner.base_url for runner in fleet.runners] == ["http://runner.internal:8080"]


@pytest.mark.parametrize(
    "urls",
    [("http://127.0.0.1:8080",), ("http://localhost:8080",), ("http://[::1]:8080",), ("http://a:1", "http://b:1")],
)
async def test_an_address_a_list_and_localhost_are_taken_as_they_are(urls: tuple[str, ...]) -> None:
    fleet = Fleet(urls, Clock(), _no_lookup)
    await fleet.refresh()
    await fleet.keep_fresh()
    assert tuple(runner.base_url for runner in fleet.runners) == urls


async def test_the_system_resolver_answers_one_family() -> None:
    found = await system_lookup("localhost", 80)
    assert found in (("127.0.0.1",), ("::1",))


def test_a_budget_allows_its_reserve_then_only_its_share() -> None:
    budget = RetryBudget(share=0.1, reserve=2)
    assert [budget.take() for _ in range(3)] == [True, True, False]
    for _ in range(9):
        budget.call()
    assert not budget.take()
    budget.call()
    budget.call()
    assert budget.take()
    assert not budget.take()
