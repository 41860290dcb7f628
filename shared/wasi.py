"""The WASI interfaces (0.2) a component may import, and their functions, as `wasm-tools` writes them.

Publishing refuses whatever is not in this table, and the runner links everything that is. The functions of
`wasi:sockets` and `wasi:http` are linked only as traps that say what to use instead, since the way to the network is
`alga:extension/http`; `wasi:filesystem` has no directories behind it.

Source: the WIT files of WASI 0.2.12 (WebAssembly/WASI, `proposals/*/wit`). Later patch releases only add functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final


def _methods(resource: str, names: str) -> tuple[str, ...]:
    return tuple(f"[method]{resource}.{name}" for name in names.split())


CLI: Final[Mapping[str, tuple[str, ...]]] = {
    "wasi:cli/environment": ("get-environment", "get-arguments", "initial-cwd"),
    "wasi:cli/exit": ("exit",),
    "wasi:cli/stdin": ("get-stdin",),
    "wasi:cli/stdout": ("get-stdout",),
    "wasi:cli/stderr": ("get-stderr",),
    "wasi:cli/terminal-input": (),
    "wasi:cli/terminal-output": (),
    "wasi:cli/terminal-stdin": ("get-terminal-stdin",),
    "wasi:cli/terminal-stdout": ("get-terminal-stdout",),
    "wasi:cli/terminal-stderr": ("get-terminal-stderr",),
}
CLOCKS: Final[Mapping[str, tuple[str, ...]]] = {
    "wasi:clocks/monotonic-clock": ("now", "resolution", "subscribe-instant", "subscribe-duration"),
    "wasi:clocks/wall-clock": ("now", "resolution"),
}
FILESYSTEM: Final[Mapping[str, tuple[str, ...]]] = {
    "wasi:filesystem/preopens": ("get-directories",),
    "wasi:filesystem/types": (
        "filesystem-error-code",
        *_methods(
            "descriptor",
            "read-via-stream write-via-stream append-via-stream advise sync-data get-flags get-type set-size set-times"
            " read write read-directory sync create-directory-at stat stat-at set-times-at link-at open-at readlink-at"
            " remove-directory-at rename-at symlink-at unlink-file-at is-same-object metadata-hash metadata-hash-at",
        ),
        *_methods("directory-entry-stream", "read-directory-entry"),
    ),
}
IO: Final[Mapping[str, tuple[str, ...]]] = {
    "wasi:io/error": _methods("error", "to-debug-string"),
    "wasi:io/poll": ("poll", *_methods("pollable", "ready block")),
    "wasi:io/streams": (
        *_methods("input-stream", "read blocking-read skip blocking-skip subscribe"),
        *_methods(
            "output-stream",
            "check-write write blocking-write-and-flush flush blocking-flush subscribe write-zeroes"
            " blocking-write-zeroes-and-flush splice blocking-splice",
        ),
    ),
}
RANDOM: Final[Mapping[str, tuple[str, ...]]] = {
    "wasi:random/random": ("get-random-bytes", "get-random-u64"),
    "wasi:random/insecure": ("get-insecure-random-bytes", "get-insecure-random-u64"),
    "wasi:random/insecure-seed": ("insecure-seed",),
}
SOCKETS: Final[Mapping[str, tuple[str, ...]]] = {
    "wasi:sockets/network": (),
    "wasi:sockets/instance-network": ("instance-network",),
    "wasi:sockets/ip-name-lookup": (
        "resolve-addresses",
        *_methods("resolve-address-stream", "resolve-next-address subscribe"),
    ),
    "wasi:sockets/tcp-create-socket": ("create-tcp-socket",),
    "wasi:sockets/tcp": _methods(
        "tcp-socket",
        "start-bind finish-bind start-connect finish-connect start-listen finish-listen accept local-address"
        " remote-address is-listening address-family set-listen-backlog-size keep-alive-enabled set-keep-alive-enabled"
        " keep-alive-idle-time set-keep-alive-idle-time keep-alive-interval set-keep-alive-interval keep-alive-count"
        " set-keep-alive-count hop-limit set-hop-limit receive-buffer-size set-receive-buffer-size send-buffer-size"
        " set-send-buffer-size subscribe shutdown",
    ),
    "wasi:sockets/udp-create-socket": ("create-udp-socket",),
    "wasi:sockets/udp": (
        *_methods("incoming-datagram-stream", "receive subscribe"),
        *_methods("outgoing-datagram-stream", "check-send send subscribe"),
        *_methods(
            "udp-socket",
            "start-bind finish-bind stream local-address remote-address address-family unicast-hop-limit"
            " set-unicast-hop-limit receive-buffer-size set-receive-buffer-size send-buffer-size set-send-buffer-size"
            " subscribe",
        ),
    ),
}
HTTP: Final[Mapping[str, tuple[str, ...]]] = {
    "wasi:http/outgoing-handler": ("handle",),
    "wasi:http/types": (
        "http-error-code",
        "[constructor]fields",
        "[static]fields.from-list",
        *_methods("fields", "get has set delete append entries clone"),
        *_methods("future-incoming-response", "subscribe get"),
        *_methods("future-trailers", "subscribe get"),
        *_methods("incoming-body", "stream"),
        "[static]incoming-body.finish",
        *_methods("incoming-request", "method path-with-query scheme authority headers consume"),
        *_methods("incoming-response", "status headers consume"),
        *_methods("outgoing-body", "write"),
        "[static]outgoing-body.finish",
        "[constructor]outgoing-request",
        *_methods(
            "outgoing-request",
            "body method set-method path-with-query set-path-with-query scheme set-scheme authority set-authority"
            " headers",
        ),
        "[constructor]outgoing-response",
        *_methods("outgoing-response", "status-code set-status-code headers body"),
        "[constructor]request-options",
        *_methods(
            "request-options",
            "connect-timeout set-connect-timeout first-byte-timeout set-first-byte-timeout between-bytes-timeout"
            " set-between-bytes-timeout",
        ),
        "[static]response-outparam.set",
    ),
}

FUNCTIONS: Final[Mapping[str, tuple[str, ...]]] = {**CLI, **CLOCKS, **FILESYSTEM, **HTTP, **IO, **RANDOM, **SOCKETS}
"""Interface without its version → its functions."""

_NAME: Final = re.compile(r"(wasi:[a-z]+/[a-z0-9-]+)@0\.2\.[0-9]+")
_RESOURCE: Final = re.compile(r"\[(?:constructor|method|static)\]([a-z0-9-]+)")


def interface_of(full_name: str) -> str | None:
    """The interface in `FUNCTIONS` that an import such as `wasi:io/poll@0.2.9` names; `None` for any other."""
    found = _NAME.fullmatch(full_name)
    return found[1] if found is not None and found[1] in FUNCTIONS else None


def resources(functions: Iterable[str]) -> Iterator[str]:
    """The resource types these functions belong to, each once."""
    return iter(dict.fromkeys(found[1] for name in functions if (found := _RESOURCE.match(name))))
