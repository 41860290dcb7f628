"""Limits: each number has a unit in its name and a reason beside it, and they fit each other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from shared import call_limits, limits, registry_limits

SIZES = {"KIB", "MIB", "GIB"}
FILES = {"limits": limits, "call_limits": call_limits, "registry_limits": registry_limits}
SOURCES = {file: Path(str(module.__file__)).read_text() for file, module in FILES.items()}
DECLARED = {
    (file, node.target.id): node
    for file, source in SOURCES.items()
    for node in ast.parse(source).body
    if isinstance(node, ast.AnnAssign)
}
LIMITS = [(file, name) for file, name in DECLARED if name not in SIZES]
UNITS = {"BYTES", "MB", "MS", "S", "MINUTES", "HOURS", "DAYS", "PX"}
# A quantity of these has a dimension; of anything else (calls, files, hops) the limit is a plain count.
DIMENSIONS = {"TIMEOUT", "TTL", "LIFETIME", "GRACE", "SKEW", "DELAY", "INTERVAL", "PERIOD", "AGE", "SILENT", "POLL"}
DIMENSIONS |= {"SIZE", "LENGTH", "MEMORY", "BODY", "BLOCK", "WINDOW", "FRAME", "STACK"}


@pytest.mark.parametrize(("file", "name"), LIMITS)
def test_a_limit_ends_with_its_unit(file, name):
    words = name.split("_")
    assert words[-1] in UNITS or not {*words} & (UNITS | DIMENSIONS), f"{name}: put the unit last, as in {name}_BYTES"


@pytest.mark.parametrize(("file", "name"), LIMITS)
def test_a_limit_has_its_reason_beside_it(file, name):
    node = DECLARED[file, name]
    lines = "\n".join(SOURCES[file].splitlines()[node.lineno - 1 : node.end_lineno])
    assert re.search(r"  # \S.{2,}", lines), f"{name}: say why this number, beside it"


@pytest.mark.parametrize(("file", "name"), LIMITS)
def test_a_limit_is_a_positive_number_and_only_a_share_is_no_whole_one(file, name):
    value = getattr(FILES[file], name)
    assert isinstance(value, float if name.endswith("_SHARE") else int)
    assert value > 0


def test_nothing_but_limits_stands_in_the_file():
    public = {(file, name) for file, module in FILES.items() for name in vars(module) if name.isupper()}
    imported = {("call_limits", "GATEWAY_GRACE_MS"), ("registry_limits", "STORE_TRANSACTION_MAX_MS")}
    imported |= {("registry_limits", name) for name in SIZES & set(vars(registry_limits))}
    assert public - imported == set(DECLARED)


def test_a_body_fits_through_every_hop():
    assert limits.REQUEST_BODY_MAX_BYTES * 4 / 3 + limits.HEADER_BLOCK_MAX_BYTES < limits.WIRE_MAX_BYTES
    assert limits.REQUEST_BODY_MAX_BYTES + limits.HEADER_BLOCK_MAX_BYTES < limits.FRAME_MAX_BYTES
    assert limits.RESPONSE_BODY_MAX_BYTES < limits.FRAME_MAX_BYTES
    assert limits.GUEST_ANSWER_MAX_BYTES <= limits.RESPONSE_BODY_MAX_BYTES


def test_the_inner_side_of_every_hop_gives_up_first():
    assert limits.TIMEOUT_DEFAULT_MS <= limits.TIMEOUT_MAX_MS
    assert limits.KILL_GRACE_MS < limits.GATEWAY_GRACE_MS
    assert limits.TIMEOUT_MAX_MS + limits.GATEWAY_GRACE_MS < limits.TOKEN_LIFETIME_MAX_S * 1000
    assert limits.TIMEOUT_MAX_MS / 1000 + limits.HOST_TOKEN_GRACE_S <= limits.TOKEN_LIFETIME_MAX_S


def test_a_revocation_acts_before_a_silent_feed_is_noticed():
    assert limits.STATE_POLL_S + limits.INSTALL_CACHE_S < limits.STATE_SILENT_S


def test_what_a_bundle_may_hold_fits_into_a_bundle():
    assert limits.BUNDLE_FILE_MAX_BYTES <= limits.COMPONENT_MAX_BYTES <= limits.BUNDLE_UNPACKED_MAX_BYTES
    assert limits.MANIFEST_MAX_BYTES <= limits.BUNDLE_FILE_MAX_BYTES
    assert limits.BUNDLE_NAME_PART_MAX_BYTES <= limits.BUNDLE_NAME_MAX_BYTES
    assert limits.BUNDLE_MAX_BYTES <= limits.BUNDLE_UNPACKED_MAX_BYTES


def test_one_tenant_cannot_fill_the_queue_alone():
    assert limits.TENANT_QUEUE_MAX < limits.QUEUE_MAX
