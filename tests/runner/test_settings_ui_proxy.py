"""What may be set about the UI proxy: where it is, what else of the host application guests may call, and for how long."""

from __future__ import annotations

import pytest

from runner.settings import read_runner
from shared.settings import SettingError
from tests.runner.test_settings import RUNNER

BASE = "https://app.example.com/ui"


def test_it_is_off_until_it_is_told_where() -> None:
    for unset in ({}, {"UI_PROXY_BASE_URL": "", "UI_PROXY_AUTH_KEY": "", "UI_PROXY_API_PATHS": ""}):
        read = read_runner({**RUNNER, **unset})
        assert (read.ui_proxy_base_url, read.ui_proxy_auth_key, read.ui_proxy_timeout_ms) == (None, None, 5000)
        assert not read.ui_proxy_api_paths.have("/api")


def test_what_is_set_is_read() -> None:
    changes = {
        "UI_PROXY_BASE_URL": BASE + "/",
        "UI_PROXY_AUTH_KEY": "a-key",
        "UI_PROXY_TIMEOUT_MS": "250",
        "UI_PROXY_API_PATHS": "/api/v1/tickets/*",
    }
    read = read_runner({**RUNNER, **changes})
    assert (read.ui_proxy_base_url, read.ui_proxy_auth_key, read.ui_proxy_timeout_ms) == (BASE, "a-key", 250)
    assert read.ui_proxy_api_paths.have("/api/v1/tickets/1")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("UI_PROXY_BASE_URL", "app.example.com"),
        ("UI_PROXY_BASE_URL", "ftp://app.example.com"),
        ("UI_PROXY_BASE_URL", "https://user:word@app.example.com"),
        ("UI_PROXY_BASE_URL", "https://app.example.com/a?b"),
        ("UI_PROXY_BASE_URL", "https://app.example.com/a#b"),
        ("UI_PROXY_BASE_URL", "https://app.example.com/a/../b"),
        ("UI_PROXY_BASE_URL", "https://app.example.com//b"),
        ("UI_PROXY_BASE_URL", "http://app.example.com"),
        ("UI_PROXY_AUTH_KEY", "two words"),
        ("UI_PROXY_AUTH_KEY", "two\r\nlines: x"),
        ("UI_PROXY_TIMEOUT_MS", "0"),
        ("UI_PROXY_TIMEOUT_MS", "30001"),
        ("UI_PROXY_API_PATHS", "/*"),
        ("UI_PROXY_API_PATHS", "/ui/*"),
    ],
)
def test_a_bad_value_stops_the_start_and_names_it(name: str, value: str) -> None:
    with pytest.raises(SettingError, match=f"^{name}: "):
        read_runner({**RUNNER, "UI_PROXY_BASE_URL": BASE, name: value})
