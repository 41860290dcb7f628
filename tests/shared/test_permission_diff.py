"""What changes between two versions: each kind of ask, what makes an upgrade grow, and what was granted already."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.capabilities import DEFAULTS, KNOWN
from shared.limits import MEMORY_DEFAULT_MB, TIMEOUT_DEFAULT_MS
from shared.permission_diff import Held, PermissionDiff, needs_consent, permission_diff
from tests.shared.manifests import FULL, SMALL, parse


def diff(before, after):
    return permission_diff(parse(SMALL | before), parse(SMALL | after))


def asking(**permissions):
    return {"permissions": permissions}


def showing(hooks=None, **csp):
    return {"ui": {"type": "iframe", "entry": "ui/index.html", "hooks": hooks or {}, "csp": csp}}


# ---- each kind ----------------------------------------------------------------------------------------------


def test_a_version_does_not_differ_from_itself():
    found = permission_diff(parse(FULL), parse(FULL))
    assert found.empty
    assert not found.grew


def test_the_versions_are_named():
    found = diff({"version": "1.0.0"}, {"version": "2.0.0"})
    assert (found.from_version, found.to_version) == ("1.0.0", "2.0.0")
    assert found.empty


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ({}, {"capabilities": ["http.fetch"]}, "capabilities"),
        ({}, asking(egress=["a.example.com"]), "egress"),
        ({}, asking(secrets=[{"name": "token"}]), "secrets"),
        (showing(), showing(connectSrc=["https://a.example.com"]), "pages"),
    ],
)
def test_an_ask_that_comes_grows_and_one_that_goes_does_not(before, after, kind):
    came, went = diff(before, after), diff(after, before)
    assert came.grew
    assert not went.grew
    assert getattr(came, kind).added
    assert not getattr(came, kind).removed
    assert getattr(went, kind).removed
    assert not getattr(went, kind).added
    assert not came.empty
    assert not went.empty


def test_a_host_that_comes_is_shown_with_its_reason():
    (ask,) = diff({}, asking(egress=[{"host": "a.example.com", "reason": "reads rates"}])).egress.added
    assert (ask.host, ask.reason) == ("a.example.com", "reads rates")


def test_another_reason_for_the_same_host_is_no_growth():
    found = diff(asking(egress=["a.example.com"]), asking(egress=[{"host": "a.example.com", "reason": "why"}]))
    assert found.empty


def test_a_narrower_host_is_another_host():
    found = diff(asking(egress=["*.example.com"]), asking(egress=["a.example.com"]))
    assert found.grew
    assert found.egress.removed == ("*.example.com",)


def test_a_default_capability_that_is_listed_is_no_growth():
    assert diff({}, {"capabilities": list(DEFAULTS)}).empty


def test_a_secret_bound_to_a_further_host_grows_and_one_bound_to_fewer_does_not():
    narrow = asking(secrets=[{"name": "token", "hosts": ["a.example.com"]}])
    wide = asking(secrets=[{"name": "token", "hosts": ["a.example.com", "b.example.com"]}])
    came, went = diff(narrow, wide), diff(wide, narrow)
    assert came.grew
    assert [(one.name, one.added) for one in came.secrets.rebound] == [("token", ("b.example.com",))]
    assert not went.grew
    assert went.secrets.rebound[0].removed == ("b.example.com",)


def test_a_secret_that_becomes_required_is_no_growth():
    before, after = asking(secrets=[{"name": "token"}]), asking(secrets=[{"name": "token", "required": True}])
    assert not diff(before, after).grew


@pytest.mark.parametrize(
    ("member", "default", "kind"),
    [("timeoutMs", TIMEOUT_DEFAULT_MS, "timeout_ms"), ("memoryMb", MEMORY_DEFAULT_MB, "memory_mb")],
)
@pytest.mark.parametrize("step", [-1, 0, 1])
def test_a_limit_below_at_and_above_the_default_grows_only_above(member, default, kind, step):
    found = diff({}, {"limits": {member: default + step}})
    assert getattr(found.limits, kind) == (default, default + step)
    assert found.grew is (step > 0)


def test_a_limit_that_is_not_asked_for_any_more_is_the_default_again():
    assert diff({"limits": {"timeoutMs": 100}}, {}).grew
    assert not diff({"limits": {"timeoutMs": 30_000}}, {}).grew


def test_endpoints_and_topics_are_shown_and_do_not_grow():
    found = diff(
        {"api": {"endpoints": [{"method": "GET", "path": "/old"}]}, "events": [{"topic": "old"}]},
        {"api": {"endpoints": [{"method": "POST", "path": "/new"}]}, "events": [{"topic": "new"}]},
    )
    assert (found.endpoints.added, found.endpoints.removed) == (("POST /new",), ("GET /old",))
    assert (found.events.added, found.events.removed) == (("new",), ("old",))
    assert not found.grew


def test_opening_to_the_client_portal_grows_and_a_menu_of_the_application_does_not():
    label = {"label": "Tickets"}
    assert diff(showing(), showing({"clientPortalMenu": label})).grew
    shown = diff(showing(), showing({"appMenu": label}))
    assert shown.hooks.added == ("appMenu",)
    assert not shown.grew


def test_interfaces_are_compared_where_somebody_looked():
    one, two = parse(SMALL), parse(SMALL)
    found = permission_diff(one, two, source_interfaces=("a", "b"), target_interfaces=("b", "c"))
    assert (found.interfaces.added, found.interfaces.removed) == (("c",), ("a",))
    assert not found.grew
    assert permission_diff(one, two).interfaces.added == ()


def test_the_answer_has_this_form():
    found = diff({"version": "1.0.0"}, {"version": "1.1.0"} | asking(egress=[{"host": "a.example.com", "reason": "r"}]))
    assert json.loads(msgspec.json.encode(found)) == {
        "from_version": "1.0.0",
        "to_version": "1.1.0",
        "grew": True,
        "capabilities": {"added": [], "removed": []},
        "egress": {"added": [{"host": "a.example.com", "reason": "r"}], "removed": []},
        "secrets": {"added": [], "removed": [], "rebound": []},
        "limits": {"timeout_ms": [5000, 5000], "memory_mb": [64, 64]},
        "endpoints": {"added": [], "removed": []},
        "events": {"added": [], "removed": []},
        "interfaces": {"added": [], "removed": []},
        "pages": {"added": [], "removed": []},
        "hooks": {"added": [], "removed": []},
    }


# ---- granted already ----------------------------------------------------------------------------------------

WIDER = {"capabilities": ["http.fetch"]} | asking(egress=["a.example.com"], secrets=[{"name": "token"}])


def test_what_is_granted_already_needs_no_consent_again():
    held = Held(capabilities=["cap:http.fetch"], egress=["a.example.com"], secrets=["token"])
    assert not needs_consent(diff({}, WIDER), held)


@pytest.mark.parametrize("lacking", ["capabilities", "egress", "secrets"])
def test_whatever_is_not_granted_needs_consent(lacking):
    all_held = {"capabilities": ["cap:http.fetch"], "egress": ["a.example.com"], "secrets": ["token"]}
    assert needs_consent(diff({}, WIDER), Held(**{**all_held, lacking: []}))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"limits": {"timeoutMs": 30_000}}),
        ({}, {"limits": {"memoryMb": 256}}),
        (showing(), showing(imgSrc=["https://a.example.com"])),
        (showing(), showing({"clientPortalMenu": {"label": "x"}})),
        (asking(secrets=[{"name": "token"}]), asking(secrets=[{"name": "token", "hosts": ["a.example.com"]}])),
    ],
)
def test_what_no_grant_holds_needs_consent_whatever_is_granted(before, after):
    everything = Held(capabilities=sorted(KNOWN), egress=["a.example.com"], secrets=["token"])
    assert needs_consent(diff(before, after), everything)


def test_what_was_asked_for_before_and_denied_needs_no_new_question():
    assert not needs_consent(diff(WIDER, WIDER), Held())


# ---- any two versions ---------------------------------------------------------------------------------------

HOSTS = st.lists(st.sampled_from(["a.example.com", "*.example.com", "b.example.com:8443"]), unique=True)
SECRETS = st.lists(
    st.builds(lambda name, hosts: {"name": name, "hosts": hosts}, st.sampled_from(["one", "two"]), HOSTS),
    unique_by=lambda secret: secret["name"],
)
MANIFESTS = st.builds(
    lambda capabilities, egress, secrets, limits, connect, hooks: parse(
        SMALL
        | {"capabilities": capabilities, "limits": limits}
        | asking(egress=egress, secrets=secrets)
        | showing({name: {"label": name} for name in hooks}, connectSrc=connect)
    ),
    st.lists(st.sampled_from(sorted(KNOWN)), unique=True),
    HOSTS,
    SECRETS,
    st.fixed_dictionaries({}, optional={"timeoutMs": st.integers(1, 30_000), "memoryMb": st.integers(1, 256)}),
    st.lists(st.sampled_from(["'self'", "https://a.example.com"]), unique=True),
    st.lists(st.sampled_from(["appMenu", "clientPortalMenu"]), unique=True),
)


def turned(found: PermissionDiff) -> list[tuple[object, object]]:
    kinds = (found.capabilities, found.endpoints, found.events, found.pages, found.hooks)
    names = [(kind.added, kind.removed) for kind in kinds]
    hosts = (tuple(ask.host for ask in found.egress.added), found.egress.removed)
    secrets = (tuple(ask.name for ask in found.secrets.added), found.secrets.removed)
    rebound = [(one.added, one.removed) for one in found.secrets.rebound]
    return [*names, hosts, secrets, *rebound, found.limits.timeout_ms, found.limits.memory_mb]


@given(MANIFESTS, MANIFESTS)
def test_the_way_back_removes_what_the_way_there_added(one, two):
    there, back = permission_diff(one, two), permission_diff(two, one)
    assert turned(there) == [(added, removed) for removed, added in turned(back)]


@given(MANIFESTS, MANIFESTS)
def test_an_install_that_grows_neither_way_asks_for_the_same(one, two):
    there, back = permission_diff(one, two), permission_diff(two, one)
    if not there.grew and not back.grew:
        assert {*one.capabilities} - {*DEFAULTS} == {*two.capabilities} - {*DEFAULTS}
        assert {ask.host for ask in one.egress_entries()} == {ask.host for ask in two.egress_entries()}
        assert {ask.name for ask in one.permissions.secrets} == {ask.name for ask in two.permissions.secrets}


@given(MANIFESTS, MANIFESTS, st.lists(st.sampled_from(sorted(KNOWN))), HOSTS, st.lists(st.sampled_from(["one", "two"])))
def test_more_that_is_granted_never_asks_for_more_consent(one, two, capabilities, hosts, secrets):
    found = permission_diff(one, two)
    held = Held(capabilities=capabilities, egress=hosts, secrets=secrets)
    if needs_consent(found, held):
        assert found.grew
        assert needs_consent(found, Held())
    assert needs_consent(found, Held()) is found.grew
