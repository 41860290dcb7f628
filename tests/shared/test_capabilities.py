"""The names of the capabilities: one spelling each, and the defaults are among them."""

from __future__ import annotations

import re

import pytest

from shared import capabilities
from shared.capabilities import ALWAYS, DEFAULTS, INTERFACES, KNOWN, PROVIDED, normalise


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_a_name_has_one_spelling_with_or_without_the_prefix(name):
    assert re.fullmatch(r"cap:[a-z]+(\.[a-z]+)+", name)
    assert normalise(name) == normalise(name.removeprefix("cap:")) == name


@pytest.mark.parametrize("name", ["http", "cap:nothing.known", "cap:", ""])
def test_a_name_that_is_not_ours_stays_unknown(name):
    assert normalise(name) not in KNOWN


def test_the_defaults_are_known_and_ordered():
    assert set(DEFAULTS) <= KNOWN
    assert list(DEFAULTS) == sorted(DEFAULTS)
    assert ALWAYS in DEFAULTS


def test_what_reaches_out_is_never_granted_by_default():
    assert not {"cap:http.fetch", "cap:secrets.get", "cap:storage.kv", "cap:ui.proxy", "cap:scheduler.manage"} & set(
        DEFAULTS
    )


def test_no_interface_is_both_ours_and_a_providers():
    assert not set(INTERFACES) & set(PROVIDED)
    assert set(INTERFACES.values()) | set(PROVIDED.values()) == capabilities.KNOWN
