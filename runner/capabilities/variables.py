"""The variables of capabilities: where the host application is, what of it guests may reach, what guests may measure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from runner.capabilities.ui_routes import API_PATHS, ApiPaths, parse_api_paths
from shared import settings
from shared.limits import TIMEOUT_DEFAULT_MS, TIMEOUT_MAX_MS
from shared.settings import Var

_BASE_PATH: Final = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*/?")


def _endpoints(value: str) -> tuple[tuple[str, str], ...]:
    """Comma-separated `name=URL`, each name once; a URL without credentials, query and fragment."""
    found: dict[str, str] = {}
    for entry in settings.csv(value):
        name, is_there, address = entry.partition("=")
        parts = urlsplit(address)
        if not is_there or not name or parts.username is not None or parts.query or parts.fragment:
            raise ValueError("must be comma-separated name=URL, without credentials, query or fragment")
        if name in found:
            raise ValueError(f"{name} has two addresses; keep one")
        found[name] = settings.url("http", "https")(address)
    return tuple(found.items())


def _base_url(value: str) -> str | None:
    """An absolute URL that only lacks the rest of its path; empty means unset."""
    if not value:
        return None
    parts = urlsplit(value)
    if parts.username is not None or parts.query or parts.fragment or not _BASE_PATH.fullmatch(parts.path):
        raise ValueError("must be an absolute URL with a plain path, without credentials, query or fragment")
    return settings.url("http", "https")(value)


def _auth_key(value: str) -> str | None:
    """What fits into one header; empty means unset, as deployment templates write it."""
    if not re.fullmatch(r"[\x21-\x7e]*", value):
        raise ValueError("must be printable ASCII without blanks")
    return value or None


def _var(name: str, parse: Callable[[str], Any], sentence: str, default: Any, *, secret: bool = False) -> Var:
    return Var(field=name.lower(), name=name, parse=parse, help=sentence, default=default, secret=secret)


CAPABILITY_VARIABLES: Final = (
    _var(
        "RUNNER_PROVIDER_ENDPOINTS",
        _endpoints,
        "Where services of the host application are asked, comma-separated `name=URL` (`clients=https://…`); what has no "
        "address fails.",
        (),
    ),
    _var(
        "UI_PROXY_BASE_URL",
        _base_url,
        "Base URL of the host application's UI proxy: an extension's routes are at `…/{extension_id}/{route}`; unset: calls "
        "of `ui-proxy` fail.",
        None,
    ),
    _var(
        API_PATHS,
        parse_api_paths,
        "Paths of the host application's own API, at the origin of `UI_PROXY_BASE_URL`, that guests with `cap:ui.proxy` may "
        "call by a route with `/` in front: comma-separated `/api/v1/tickets` or, for all below it, `/api/v1/tickets/*`.",
        ApiPaths(),
    ),
    _var(
        "UI_PROXY_AUTH_KEY",
        _auth_key,
        "Says to the UI proxy which runner is calling, in `x-runner-auth`; never sufficient alone.",
        None,
        secret=True,
    ),
    _var(
        "UI_PROXY_TIMEOUT_MS",
        settings.integer(1, TIMEOUT_MAX_MS),
        "Milliseconds one call of the UI proxy may take.",
        TIMEOUT_DEFAULT_MS,
    ),
    _var(
        "RUNNER_GUEST_METRICS_LABELS",
        settings.choice("none", "extension", "tenant"),
        "By which labels `/metrics` tells guests' own metrics apart: `extension`; `tenant` (and extension), which has as many "
        "series as installs have; or `none`: sums over all extensions.",
        "extension",
    ),
)
