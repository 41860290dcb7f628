"""What the execution log says about a call: its first words and its last. Pure."""

from __future__ import annotations

from typing import Final

from gateway.audit.log import new_id
from gateway.proxy import failures
from gateway.proxy.admission import Admitted
from gateway.store.platform.executions import Closing, Opening
from shared.errors import BY_CODE, PlatformError
from shared.wire import Usage

CLIENT_CLOSED: Final = 499  # nobody was left to answer; a number for the log, never sent


def opening(admitted: Admitted, timeout_ms: int) -> Opening:
    """The row of a call that is about to be dispatched."""
    install, principal, endpoint = admitted.install, admitted.principal, admitted.match.endpoint
    return Opening(
        id=new_id(),
        tenant_id=principal.tenant_id,
        request_id=admitted.incoming.request_id,
        registry_id=install.extension_id,
        install_id=install.install_id,
        version_id=install.version_id,
        content_hash=install.content_hash,
        principal=principal.actor,
        principal_kind=principal.kind,
        method=admitted.incoming.method,
        endpoint=endpoint.path if endpoint else "",
        timeout_ms=timeout_ms,
    )


def answered(status: int, duration_ms: float, usage: Usage, incidents: tuple[str, ...] = ()) -> Closing:
    """The guest answered, whatever status it chose; `code` says what it was refused on the way, if anything was."""
    kind = next((BY_CODE[code] for code in incidents if code in BY_CODE), None)
    if kind is None:
        return _closing("ok", status, duration_ms, usage)
    return _closing("ok", status, duration_ms, usage, code=kind.code, blame=kind.blame.value)


def refused(error: PlatformError, duration_ms: float, usage: Usage) -> Closing:
    """There is no guest answer, and `error` says why."""
    state = failures.terminal_state(error)
    return _closing(state, error.status, duration_ms, usage, code=error.code, blame=error.blame.value)


def cancelled(duration_ms: float) -> Closing:
    """The client went away, or the server stopped, before there was an answer."""
    return _closing("cancelled", CLIENT_CLOSED, duration_ms, Usage(), blame="caller")


def _closing(
    state: str, status: int, duration_ms: float, usage: Usage, *, code: str | None = None, blame: str | None = None
) -> Closing:
    return Closing(
        state=state,
        http_status=status,
        duration_ms=duration_ms,
        queue_ms=usage.queue_ms,
        cpu_ms=usage.cpu_ms,
        memory_peak_bytes=usage.memory_peak_bytes,
        egress_bytes=usage.egress_bytes,
        host_calls=usage.host_calls,
        cold=usage.cold,
        code=code,
        blame=blame,
    )
