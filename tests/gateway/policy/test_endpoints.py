"""A call meets the declaration that fits best; what meets none passes only under `advisory`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy import endpoints
from gateway.policy.endpoints import Endpoint
from gateway.policy.paths import parse
from shared.errors import EndpointNotFound

DECLARED = (
    Endpoint(method="GET", path="/"),
    Endpoint(method="GET", path="/users/:id"),
    Endpoint(method="GET", path="/users/me"),
    Endpoint(method="POST", path="/agreements/:id/sync", timeout_ms=2000),
    Endpoint(method="GET", path="/:kind/me"),
)


def _segments(path: str) -> tuple[str, ...]:
    return parse(b"/api/ext/x" + path.encode()).segments


@pytest.mark.parametrize(
    ("method", "path", "template"),
    [
        ("GET", "/", "/"),
        ("GET", "/users/7", "/users/:id"),
        ("HEAD", "/users/7", "/users/:id"),
        ("GET", "/users/me", "/users/me"),
        ("GET", "/groups/me", "/:kind/me"),
        ("POST", "/agreements/7/sync", "/agreements/:id/sync"),
        ("GET", "/users/a%3Fb", "/users/:id"),
    ],
)
def test_a_declared_call_meets_its_template(method: str, path: str, template: str) -> None:
    found = endpoints.find(DECLARED, method, _segments(path))
    assert found is not None
    assert found.path == template


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/users"),
        ("GET", "/users/"),
        ("GET", "/users/7/"),
        ("GET", "/users/7/8"),
        ("POST", "/users/7"),
        ("HEAD", "/agreements/7/sync"),
        ("OPTIONS", "/"),
        ("GET", "/Users/7/x"),
    ],
)
def test_an_undeclared_call_passes_under_one_label_or_is_refused(method: str, path: str) -> None:
    assert endpoints.find(DECLARED, method, _segments(path)) is None
    assert endpoints.decide("advisory", DECLARED, method, _segments(path)).label == endpoints.UNDECLARED
    with pytest.raises(EndpointNotFound):
        endpoints.decide("enforce", DECLARED, method, _segments(path))


def test_a_declared_call_passes_under_both_policies_with_its_timeout() -> None:
    for policy in ("advisory", "enforce"):
        match = endpoints.decide(policy, DECLARED, "POST", _segments("/agreements/7/sync"))
        assert match.label == "POST /agreements/:id/sync"
        assert match.endpoint is not None
        assert match.endpoint.timeout_ms == 2000


def test_a_declared_head_is_met_before_the_get() -> None:
    both = (Endpoint(method="GET", path="/a"), Endpoint(method="HEAD", path="/:x", timeout_ms=7))
    found = endpoints.find(both, "HEAD", ("a",))
    assert found is not None
    assert found.timeout_ms == 7


def test_a_parameter_never_matches_an_empty_segment() -> None:
    assert endpoints.find(DECLARED, "GET", ("users", "")) is None


def test_a_lone_colon_is_a_literal() -> None:
    only = (Endpoint(method="GET", path="/:"),)
    assert endpoints.find(only, "GET", ("x",)) is None
    assert endpoints.find(only, "GET", (":",)) is not None


@pytest.mark.parametrize(
    ("platform", "install", "stricter"),
    [
        ("advisory", None, "advisory"),
        ("advisory", "advisory", "advisory"),
        ("advisory", "enforce", "enforce"),
        ("enforce", None, "enforce"),
        ("enforce", "advisory", "enforce"),
    ],
)
def test_an_install_may_be_stricter_never_looser(platform: str, install: str | None, stricter: str) -> None:
    assert endpoints.effective(platform, install) == stricter  # type: ignore[arg-type]


_PART = st.sampled_from(["a", "b", ":x", ""])


@given(
    st.lists(st.lists(_PART, min_size=1, max_size=3), max_size=6),
    st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=3),
)
def test_what_is_found_always_fits_and_order_never_matters(templates: list[list[str]], segments: list[str]) -> None:
    declared = [Endpoint(method="GET", path="/" + "/".join(parts)) for parts in templates]
    found = endpoints.find(declared, "GET", tuple(segments))
    reordered = endpoints.find(declared[::-1], "GET", tuple(segments))
    fits = [
        endpoint
        for endpoint in declared
        if len(parts := endpoint.path[1:].split("/")) == len(segments)
        and all(
            bool(given_) if part.startswith(":") else part == given_
            for part, given_ in zip(parts, segments, strict=True)
        )
    ]
    assert (found is None) == (not fits)
    assert found is None or (found in fits and reordered is not None and reordered.path == found.path)
