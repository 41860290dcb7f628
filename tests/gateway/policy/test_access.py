"""Who may call an install: one permission, one install, and the extra conditions of client users."""

from __future__ import annotations

import itertools
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.identity.principal import PERMISSIONS, Principal
from gateway.installs.resolved import ResolvedInstall
from gateway.policy import access
from shared.errors import (
    ExtensionDisabled,
    Forbidden,
    InvalidSession,
    MethodNotAllowed,
    NotInstalled,
    PlatformError,
    Revoked,
)
from shared.ids import ExtensionId, InstallId, TenantId

INSTALL = ResolvedInstall(
    tenant_id="acme",
    install_id="i1",
    extension_id="e1",
    version_id="v1",
    publisher="acme",
    name="com.acme.notes",
    version="1.0.0",
    content_hash="sha256:00",
    capabilities=(),
)
PORTAL = msgspec.structs.replace(INSTALL, hooks=frozenset({"clientPortalMenu"}))


def _principal(*permissions: str, **fields: Any) -> Principal:
    return Principal(
        **{
            "tenant_id": TenantId("acme"),
            "subject": "u",
            "kind": "session",
            "permissions": frozenset(permissions),
            **fields,
        }
    )


def _allowed(principal: Principal, install: ResolvedInstall, method: str) -> bool:
    try:
        access.authorise(principal, install, method)
    except PlatformError:
        return False
    return True


@given(st.frozensets(st.sampled_from(sorted(PERMISSIONS))), st.sampled_from(access.METHODS))
def test_exactly_one_permission_decides(permissions: frozenset[str], method: str) -> None:
    needed = "extension:read" if method in ("GET", "HEAD") else "extension:write"
    assert _allowed(_principal(*permissions), INSTALL, method) == (needed in permissions)


@pytest.mark.parametrize("method", access.METHODS)
def test_every_offered_method_is_accepted(method: str) -> None:
    access.check_method(method)


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "CONNECT", "get", ""])
def test_any_other_method_is_not(method: str) -> None:
    with pytest.raises(MethodNotAllowed):
        access.check_method(method)


@pytest.mark.parametrize(
    ("kind", "portal", "client_id"), list(itertools.product(("internal", "client"), (True, False), ("c1", "", None)))
)
def test_a_client_needs_portal_and_client_id_and_staff_needs_neither(
    kind: Literal["internal", "client"], portal: bool, client_id: str | None
) -> None:
    caller = _principal("extension:read", user_type=kind, client_id=client_id)
    expected = kind == "internal" or (portal and bool(client_id))
    assert _allowed(caller, PORTAL if portal else INSTALL, "GET") == expected


@pytest.mark.parametrize(
    ("extension", "install", "allowed"),
    [("e1", "i1", True), ("e2", "i1", False), ("e1", "i2", False), (None, None, False)],
)
def test_an_iframe_session_fits_one_install_only(extension: str | None, install: str | None, allowed: bool) -> None:
    session = _principal(
        "extension:read",
        kind="iframe",
        extension_id=None if extension is None else ExtensionId(extension),
        install_id=None if install is None else InstallId(install),
    )
    if allowed:
        access.authorise(session, INSTALL, "GET")
    else:
        with pytest.raises(InvalidSession):
            access.authorise(session, INSTALL, "GET")


def test_an_absent_install_looks_foreign_to_an_iframe_and_absent_to_everyone_else() -> None:
    missing = NotInstalled("nothing")
    assert isinstance(access.absent(_principal(kind="iframe"), missing), InvalidSession)
    assert access.absent(_principal(), missing) is missing


def test_a_disabled_or_revoked_install_is_refused_after_the_permission() -> None:
    off = msgspec.structs.replace(INSTALL, enabled=False)
    withdrawn = msgspec.structs.replace(INSTALL, revoked=True)
    with pytest.raises(ExtensionDisabled):
        access.authorise(_principal("extension:read"), off, "GET")
    with pytest.raises(Revoked):
        access.authorise(_principal("extension:read"), withdrawn, "GET")
    for install in (off, withdrawn):
        with pytest.raises(Forbidden):
            access.authorise(_principal(), install, "GET")
