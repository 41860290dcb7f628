"""The names of the capabilities: one spelling each, and the defaults are among them."""

from __future__ import annotations

import re

import pytest

from shared.capabilities import ALWAYS, DEFAULTS, INTERFACES, KNOWN, NAME, normalise
from shared.provider_files import shipped


@pytest.mark.parametrize("name", sorted(shipped().capabilities))
def test_a_name_has_one_spelling_with_or_without_the_prefix(name):
    assert re.fullmatch(r"cap:[a-z]+(\.[a-z]+)+", name)
    assert NAME.fullmatch(name)
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
    provided = {one.name: one.capability for one in shipped()}
    assert not set(INTERFACES) & set(provided)
    assert not KNOWN & set(provided.values())
    assert set(INTERFACES.values()) == KNOWN
    assert shipped().capabilities == KNOWN | set(provided.values())
    assert shipped().interfaces == INTERFACES | provided
