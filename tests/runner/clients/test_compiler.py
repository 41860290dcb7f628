"""How long a runner tells its caller to wait for the compiler: what the compiler said, within reason."""

from __future__ import annotations

import pytest

from runner.clients.compiler import RETRY_AFTER_S, RETRY_MAX_S, _retry_after_s


@pytest.mark.parametrize(
    ("said", "wait_s"),
    [
        ("1", 1),
        (str(RETRY_MAX_S - 1), RETRY_MAX_S - 1),
        (str(RETRY_MAX_S), RETRY_MAX_S),
        (str(RETRY_MAX_S + 1), RETRY_MAX_S),
        ("999999", RETRY_MAX_S),
        *((text, RETRY_AFTER_S) for text in ("", "-1", "1.5", "soon", "²", " 7", "9" * 5_000)),
    ],
)
def test_the_compilers_time_is_passed_on_within_bounds(said: str, wait_s: int):
    assert _retry_after_s(said) == wait_s
