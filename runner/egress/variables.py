"""The `EXT_EGRESS_*` variables: what an operator decides about guests' requests. `policy` says what they mean together."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from runner.egress.policy import ENFORCE, OBSERVE, parse_name_servers, proxy_url
from shared import settings
from shared.settings import Var


def certificates(value: str) -> str:
    """PEM text, or that of the file it names; nothing when it is empty. Raises `ValueError` when it has no certificate."""
    if not value:
        return ""
    try:
        text = value if "-----BEGIN" in value else Path(value).read_text()
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (OSError, UnicodeDecodeError, TypeError, ValueError) as error:  # an `SSLError` is an `OSError`
        raise ValueError("must be PEM text of certificates, or the path of a readable file with such") from error
    return text


def _proxy(value: str) -> str | None:
    return proxy_url(value) if value else None


def _var(name: str, parse: Callable[[str], Any], sentence: str, default: Any, *, secret: bool = False) -> Var:
    return Var(field=name.lower(), name=name, parse=parse, help=sentence, default=default, secret=secret)


EGRESS_VARIABLES: Final = (
    _var(
        "EXT_EGRESS_ALLOWLIST",
        settings.csv,
        "Hosts any extension may reach at all, comma-separated; unset: what installs were granted; empty: none.",
        None,
    ),
    _var("EXT_EGRESS_ALLOW_PRIVATE", settings.csv, "host:port pairs that skip the address table; local mode only.", ()),
    _var(
        "EXT_EGRESS_CA",
        certificates,
        "PEM text or path of certificate authorities that guests' requests trust beside the system's.",
        "",
    ),
    _var(
        "EXT_EGRESS_DNS",
        parse_name_servers,
        "DNS servers that names of guests' requests are asked of, address[:port], comma-separated; unset: the system's.",
        (),
    ),
    _var(
        "EXT_EGRESS_MODE",
        settings.choice(ENFORCE, OBSERVE),
        "`observe` lets pass and records what the allowlist would deny; private addresses stay denied.",
        ENFORCE,
    ),
    _var(
        "EXT_EGRESS_PROXY",
        _proxy,
        "`http://[user:password@]host:port` of a proxy that tunnels all of the guests' requests (CONNECT to addresses "
        "checked here); proxy variables of the environment are ignored.",
        None,
        secret=True,
    ),
)
