"""Who the console signs in by itself on a developer's machine, and when it does not.

Only in local mode, only under `/msp/`, and only for a request that names this machine: a foreign site whose name was
pointed at 127.0.0.1 (DNS rebinding) would otherwise be an administrator's page.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

from gateway.identity.principal import PERMISSIONS, Principal
from shared import ids

_OPERATORS: Final = frozenset({"platform:admin"})


def administrator(tenant: str) -> Principal:
    """The demo administrator of `tenant`: everything a tenant's own people may do. Raises `InvalidRequest`."""
    subject = f"{tenant}-admin"
    return Principal(
        tenant_id=ids.tenant_id(tenant),
        subject=subject,
        kind="session",
        permissions=PERMISSIONS - _OPERATORS,
        email=f"{subject}@{tenant}.example",
        name="Demo Administrator",
    )


def names_this_machine(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the request's `Host` is `localhost` or a loopback address."""
    hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
    if len(hosts) != 1:
        return False
    host = hosts[0].rpartition(":")[0] if hosts[0].rpartition(":")[2].isdigit() else hosts[0]
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
