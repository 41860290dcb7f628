"""What failed a moment ago fails again without anybody being asked, and only for a moment."""

from __future__ import annotations

import pytest

from runner.bundles import negative
from runner.bundles.negative import NegativeCache
from shared.errors import BundleNotFound, BundleUnavailable


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_unknown_key_passes():
    NegativeCache[str]().check("a")


def test_a_remembered_error_is_raised_with_its_detail_until_its_time_is_over():
    clock = Clock()
    cache: NegativeCache[str] = NegativeCache(ttl_s=5, clock=clock)
    cache.remember("a", BundleNotFound("the store has no a", path="a"))
    clock.now = 104.999
    with pytest.raises(BundleNotFound, match="the store has no a") as raised:
        cache.check("a")
    assert raised.value.extra == {"path": "a"}
    clock.now = 105.0
    cache.check("a")


def test_a_shorter_time_can_be_asked_for():
    clock = Clock()
    cache: NegativeCache[str] = NegativeCache(ttl_s=5, clock=clock)
    cache.remember("a", BundleUnavailable("away", retry_after_s=2), ttl_s=1)
    with pytest.raises(BundleUnavailable) as raised:
        cache.check("a")
    assert raised.value.retry_after_s == 2
    clock.now = 101.0
    cache.check("a")


def test_a_forgotten_key_passes():
    cache: NegativeCache[str] = NegativeCache()
    cache.remember("a", BundleNotFound())
    cache.forget("a")
    cache.check("a")


def test_random_keys_push_out_only_the_oldest():
    cache: NegativeCache[int] = NegativeCache(clock=Clock())
    for key in range(negative.ENTRIES_MAX + 1):
        cache.remember(key, BundleNotFound())
    cache.check(0)
    with pytest.raises(BundleNotFound):
        cache.check(1)
