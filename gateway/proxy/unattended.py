"""Calls an install's handler when nobody asked for it: a schedule's time has come, or an event has arrived.

For whoever delivers something (schedules, events):

    outcome = await ctx.unattended.call(
        Due(tenant_id=…, install_id=…, kind="event", subject=event_id, method="POST", path="/events", body=b"…")
    )

The call runs like a client's, by the same `Dispatch`: same envelope, tokens, time limits, execution row. What differs:

  * nobody is behind it: the guest's `user.get-user` answers `not-available`; the row's principal is `{kind}:{subject}`
    with `principal_kind` `schedule` or `event`;
  * no permission is asked for, since no caller holds one: that the call may be made at all is decided where it became
    due. The install must exist, be enabled and not revoked, as for anybody;
  * a schedule reaches only endpoints that the manifest of the version installed now declares `schedulable`, an event
    only the handler its delivery names, which the manifest declares under `events`;
  * no client is watched; cancelling the awaiting task cancels the guest and closes the row as `cancelled`.

What can go wrong is an answer, not an exception: see `Outcome`. An `idempotency_key` reaches the guest as the header
`x-idempotency-key`; nothing here remembers it.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable
from typing import Final

import msgspec
import structlog

from gateway.identity import principal
from gateway.identity.principal import Trigger
from gateway.installs.resolve import InstallResolver
from gateway.policy import access, endpoints, paths
from gateway.policy.endpoints import EndpointPolicy
from gateway.proxy.admission import Admitted
from gateway.proxy.client import Reply
from gateway.proxy.dispatch import Dispatch
from gateway.proxy.envelope import Incoming
from shared.errors import EndpointNotFound, Internal, PlatformError

_JSON: Final = ((b"content-type", b"application/json"), (b"accept", b"application/json"))

_log = structlog.get_logger(__name__)


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """One call that became due.

    Attributes:
        tenant_id, install_id: whose handler is called; from rows of ours, never from a request's own words.
        kind: what made it due.
        subject: the id of the schedule or event, for the execution row.
        method, path: of the handler, as the manifest declares it: a path with `:param` segments cannot be called.
        headers: for the guest, names in lower case; those of the allowlist pass, as for a client.
        body: none when there is none.
        idempotency_key: printable ASCII; equal for every attempt of the same delivery.
        hops: how many events led to this call; the guest's host token carries it.
    """

    tenant_id: str
    install_id: str
    kind: Trigger
    subject: str
    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...] = _JSON
    body: bytes | None = None
    idempotency_key: str | None = None
    hops: int = 0


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a call.

    Attributes:
        status: what the guest answered; none when it did not answer.
        code: none when the guest answered, else the platform's error code.
        detail: one sentence about the error; empty when the guest answered.
        started: whether guest code may have run; if not, the call may be made again without doing anything twice.
        execution_id: the row in the execution log; none when the call was refused before it had one.
    """

    status: int | None = None
    code: str | None = None
    detail: str = ""
    started: bool = False
    execution_id: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the guest answered with a status of success, 200 to 299."""
        return self.status is not None and 200 <= self.status < 300


class Unattended:
    """Makes calls that nobody asked for. One for each process; holds no state of its own.

    Args:
        resolver: which install is meant, and whether it may run.
        dispatch: runs calls.
        endpoint_policy: the platform's; an install's own can only be stricter.
    """

    def __init__(self, resolver: InstallResolver, dispatch: Dispatch, endpoint_policy: EndpointPolicy) -> None:
        self._resolver = resolver
        self._dispatch = dispatch
        self._endpoint_policy: EndpointPolicy = endpoint_policy

    async def call(self, due: Due) -> Outcome:
        """Make the call and wait for its end. Raises nothing but what cancels it."""
        request_id = str(uuid.uuid4())
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            execution_id = None
            try:
                call = await self._dispatch.open(await self._dispatch.enter(await self._admit(due, request_id)))
                execution_id = call.execution_id
                answer = await self._dispatch.run(call, _waiting)
            except PlatformError as error:
                outcome = Outcome(
                    code=error.code, detail=error.detail, started=error.started, execution_id=execution_id
                )
            except Exception:  # noqa: BLE001 - a delivery that fails in a way nobody foresaw must not end its loop
                _log.exception("unattended_call_failed", install_id=due.install_id, trigger=due.kind)
                started = execution_id is not None
                outcome = Outcome(code=Internal.code, detail=Internal.title, started=started, execution_id=execution_id)
            else:
                outcome = Outcome(status=answer.status, started=True, execution_id=execution_id)
            _log.info(
                "unattended_call",
                tenant_id=due.tenant_id,
                install_id=due.install_id,
                trigger=due.kind,
                subject=due.subject,
                status=outcome.status,
                code=outcome.code,
            )
            return outcome

    async def _admit(self, due: Due, request_id: str) -> Admitted:
        """The call with everything that decides whether it may run. Raises the `PlatformError` of what refuses."""
        access.check_method(due.method)
        install = await self._resolver.resolve(due.tenant_id, due.install_id)
        access.check_active(install)
        if not install.runnable:
            raise EndpointNotFound("this extension has a user interface only, and nothing to call")
        path = paths.declared(due.path)
        policy = endpoints.effective(self._endpoint_policy, install.endpoint_policy)
        if due.kind == "event":
            policy = "advisory"  # the handler's line under `events`, where the path comes from, is what declares it
        match = endpoints.decide(policy, install.endpoints, due.method, path.segments)
        if due.kind == "schedule" and not (match.endpoint and match.endpoint.schedulable):
            raise EndpointNotFound("this version of the extension has no such endpoint that may be scheduled")
        headers = due.headers
        if due.idempotency_key is not None:
            headers = (*headers, (b"x-idempotency-key", due.idempotency_key.encode("ascii")))
        incoming = Incoming(
            request_id=request_id,
            method=due.method,
            path=path.path,
            query={},
            query_string=None,
            headers=headers,
            body=due.body,
            hops=due.hops,
        )
        return Admitted(principal.unattended(due.tenant_id, due.kind, due.subject), install, match, incoming)


async def _waiting(work: Awaitable[Reply]) -> Reply:
    return await work
