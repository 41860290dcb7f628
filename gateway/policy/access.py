"""Whether a caller may call an install at all. Pure; what is allowed here may still meet an endpoint policy.

Reading (GET, HEAD) needs `extension:read`, everything else `extension:write`. A user of the client portal needs, on
top, that the extension hooks into the portal and that the credential says which client it is. An iframe session
reaches its own install and nothing else, and learns nothing about anything else: for it a foreign install and an
absent one answer alike.
"""

from __future__ import annotations

from typing import Final

from gateway.identity.principal import Principal, confine, require
from gateway.installs.resolved import ResolvedInstall
from shared.errors import ExtensionDisabled, Forbidden, InvalidSession, MethodNotAllowed, NotInstalled, Revoked

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
"""What `/api/ext/…` takes besides the `OPTIONS` of CORS."""

READING: Final = frozenset({"GET", "HEAD"})


def check_method(method: str) -> None:
    """Raise `MethodNotAllowed` for a method no extension can be called with."""
    if method not in METHODS:
        raise MethodNotAllowed(f"an extension is called with {', '.join(METHODS)}")


def authorise(principal: Principal, install: ResolvedInstall, method: str) -> None:
    """Raise unless `principal` may call `install` with `method`.

    Raises:
        InvalidSession: an iframe session of another install.
        Forbidden: a permission is missing (it is named), or a client user may not use this extension.
        ExtensionDisabled: the tenant switched it off.
        Revoked: this version was withdrawn.
    """
    confine(principal, install.extension_id, install.install_id)
    require(principal, "extension:read" if method in READING else "extension:write")
    check_client(principal, install)
    check_active(install)


def check_active(install: ResolvedInstall) -> None:
    """Raise `ExtensionDisabled` or `Revoked` unless the install's code may run at all, whoever asks."""
    if not install.enabled:
        raise ExtensionDisabled("the extension is disabled for this tenant; an administrator can enable it")
    if install.revoked:
        raise Revoked("this version of the extension was revoked; an administrator can upgrade it")


def check_client(principal: Principal, install: ResolvedInstall) -> None:
    """Raise `Forbidden` when a client user may not use this extension."""
    if principal.user_type != "client":
        return
    if not install.for_clients:
        raise Forbidden("client users may only use extensions whose manifest declares ui.hooks.clientPortalMenu")
    if not principal.client_id:
        raise Forbidden("a client user's credential must carry client_id")


def absent(principal: Principal, error: NotInstalled) -> NotInstalled | InvalidSession:
    """What a caller reads when its reference means nothing: an iframe session cannot use it to look around."""
    return InvalidSession() if principal.kind == "iframe" else error
