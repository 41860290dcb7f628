"""What a schedule may be told to do: every field judged, all that is wrong said at once. Pure.

An endpoint may be scheduled when the manifest of the installed version says so and its path has no `:param`, since
nobody is there to fill it in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from gateway.policy.access import METHODS
from gateway.schedules.cron import CronError, of, zone
from gateway.store.schedules import Delivery, Missed, Terms
from shared.errors import InvalidRequest
from shared.limits import SCHEDULE_NAME_MAX_CHARS, SCHEDULE_PAYLOAD_MAX_BYTES
from shared.manifest import Manifest
from shared.manifest_parts import Endpoint
from shared.scheduler import EndpointItem

BODILESS: Final = frozenset({"GET", "HEAD", "DELETE"})
"""Methods whose body means nothing (RFC 9110 §9.3): a payload would be lost on the way."""

_NAMED_MAX_COUNT: Final = 20  # endpoints in one refusal


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule as somebody wants it, unjudged.

    Attributes:
        endpoint: `METHOD /path`, or the path when only one schedulable endpoint has it.
        payload: JSON text.
    """

    endpoint: str
    cron: str
    timezone: str = "UTC"
    enabled: bool = True
    name: str | None = None
    payload: str | None = None
    delivery: Delivery = "at_most_once"
    missed: Missed = "run_latest"


def draft_of(terms: Terms) -> Draft:
    """What somebody would have to want to get `terms`."""
    return Draft(
        endpoint=endpoint_id(terms.endpoint_method, terms.endpoint_path),
        cron=terms.cron,
        timezone=terms.timezone,
        enabled=terms.enabled,
        name=terms.name,
        payload=terms.payload,
        delivery=terms.delivery,
        missed=terms.missed,
    )


def endpoint_id(method: str, path: str) -> str:
    """How an endpoint is named: unique in a manifest, and the same in its next version."""
    return f"{method} {path}"


def endpoints(manifest: Manifest) -> list[EndpointItem]:
    """Every endpoint of a manifest, in its order."""
    return [
        EndpointItem(
            id=endpoint_id(one.method, one.path),
            method=one.method,
            path=one.path,
            handler=one.handler,
            schedulable=_may_be_scheduled(one),
        )
        for one in manifest.api.endpoints
    ]


def checked(manifest: Manifest, draft: Draft) -> Terms:
    """The schedule that was wanted.

    Raises:
        InvalidRequest: names every field that is not valid; `field_errors` has each with what would be.
    """
    errors: dict[str, str] = {}
    method, path = _endpoint(manifest, draft.endpoint, errors)
    _check_cron(draft, errors)
    if draft.name is not None and not _is_name(draft.name):
        errors["name"] = f"must be 1 to {SCHEDULE_NAME_MAX_CHARS} printable characters"
    if draft.payload is not None:
        _check_payload(draft.payload, method, errors)
    if errors:
        detail = "; ".join(f"{field}: {message}" for field, message in errors.items())
        raise InvalidRequest(detail, field_errors=errors)
    return Terms(
        endpoint_method=method,
        endpoint_path=path,
        cron=" ".join(draft.cron.split()),
        timezone=draft.timezone,
        name=draft.name,
        enabled=draft.enabled,
        payload=draft.payload,
        delivery=draft.delivery,
        missed=draft.missed,
    )


def _endpoint(manifest: Manifest, wanted: str, errors: dict[str, str]) -> tuple[str, str]:
    allowed = [one for one in manifest.api.endpoints if _may_be_scheduled(one)]
    found = [one for one in allowed if wanted in (one.path, endpoint_id(one.method, one.path))]
    if len(found) == 1:
        return found[0].method, found[0].path
    ids = _named(found or allowed)
    errors["endpoint"] = (
        f"must be one of: {ids}" if ids else "this version declares no endpoint with `schedulable: true`"
    )
    return "", ""


def _named(found: Sequence[Endpoint]) -> str:
    names = [endpoint_id(one.method, one.path) for one in found[:_NAMED_MAX_COUNT]]
    return ", ".join([*names, "…"] if len(found) > _NAMED_MAX_COUNT else names)


def _may_be_scheduled(endpoint: Endpoint) -> bool:
    return (
        endpoint.schedulable
        and endpoint.method in METHODS
        and not any(part.startswith(":") for part in endpoint.path.split("/"))
    )


def _check_cron(draft: Draft, errors: dict[str, str]) -> None:
    try:
        zone(draft.timezone)
    except CronError as error:
        errors["timezone"] = str(error)
    try:
        of(draft.cron, "UTC")
    except CronError as error:
        errors["cron"] = str(error)


def _is_name(text: str) -> bool:
    return 1 <= len(text) <= SCHEDULE_NAME_MAX_CHARS and text.isprintable()


def _check_payload(text: str, method: str, errors: dict[str, str]) -> None:
    try:
        data = text.encode()
        if len(data) > SCHEDULE_PAYLOAD_MAX_BYTES:
            errors["payload"] = f"may have at most {SCHEDULE_PAYLOAD_MAX_BYTES} bytes"
            return
        msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        errors["payload"] = "must be JSON text"
        return
    if method in BODILESS:
        errors["payload"] = (
            f"a {method} has no body; leave the payload out, or schedule an endpoint with another method"
        )
