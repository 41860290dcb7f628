"""Logs: structlog, one JSON object a line, the event first, request, tenant and extension bound once.

Nothing secret leaves through a log line: values under names that hold credentials become `***`, and so do anything
that looks like one of our tokens or keys and the plaintext of secrets the current execution was given. Control characters never reach the line raw: JSON escapes
them (threat T28).
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Final, TextIO, cast

import structlog

from shared.redaction import REDACTED, redact_current

_NAMES: Final = re.compile(r"(?i)(authorization|cookie|password|passwd|secret|token|api_?key|private_?key|credential)")
_SAFE_NAMES: Final = frozenset({"key_id", "token_kind", "secret_names", "secret_name"})
_VALUES: Final = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]+"  # a compact JWS
    r"|\bak_[A-Za-z0-9]+_[A-Za-z0-9_-]{8,}"  # an API key
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"  # userinfo of a URL
)


def redact_text(text: str) -> str:
    """`text` with everything that looks like one of our credentials replaced by `***`."""
    return _VALUES.sub(REDACTED, redact_current(text))


def _redact(value: Any) -> Any:
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, dict):
        return {str(key): _redact_item(str(key), item) for key, item in cast(Mapping[Any, Any], value).items()}
    if isinstance(value, list | tuple):
        return [_redact(item) for item in cast(Sequence[Any], value)]
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return redact_text(repr(value))  # what the renderer would do to it, but before the redaction, not after


def _redact_item(name: str, value: Any) -> Any:
    if _NAMES.search(name) and name not in _SAFE_NAMES:
        return REDACTED
    return _redact(value)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The structlog processor that stands last before rendering."""
    return {name: _redact_item(name, value) for name, value in event.items()}


def configure(service: str, stream: TextIO | None = None, level: str = "info") -> None:
    """Set up structlog and the standard library's root logger for one process.

    Args:
        service: `gateway`, `runner`, `compiler`; bound to every line.
        stream: where lines go; standard error by default.
        level: lowest level written.
    """
    out = stream or sys.stderr
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    tail: list[Any] = [_event_first(service), redact, structlog.processors.JSONRenderer(serializer=_json_line)]
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, *tail],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tail],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(number, logging.WARNING), force=True)


def _json_line(event: MutableMapping[str, Any], **_options: Any) -> str:
    # json leaves DEL as it is; a terminal does not.
    return json.dumps(event, ensure_ascii=True).replace("\x7f", "\\u007f")


def _event_first(service: str) -> Any:
    def order(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        text = event.pop("event", "")
        return {"event": text, "service": service, **event}

    return order
