"""What may be set about guests' metrics: by which labels they are told apart."""

from __future__ import annotations

import pytest

from runner.settings import read_runner
from shared.settings import SettingError
from tests.runner.test_settings import RUNNER

NAME = "RUNNER_GUEST_METRICS_LABELS"


def test_extensions_are_told_apart_and_tenants_are_not_unless_somebody_says_so() -> None:
    assert read_runner(RUNNER).runner_guest_metrics_labels == "extension"
    for word in ("none", "extension", "tenant"):
        assert read_runner({**RUNNER, NAME: word}).runner_guest_metrics_labels == word


@pytest.mark.parametrize("value", ["", "install", "Tenant", "tenant,extension"])
def test_a_bad_value_stops_the_start_and_names_it(value: str) -> None:
    with pytest.raises(SettingError, match=f"^{NAME}: "):
        read_runner({**RUNNER, NAME: value})
