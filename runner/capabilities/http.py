"""http: a guest fetches from hosts that its install was granted. WIT: shared/wit/http.wit.

    not-allowed   not granted, a host outside the grant or the operator's fence, an address that is not public, a method,
                  a header, a redirect, a secret, or one too many
    invalid-url   nothing that could be asked for
    transport     no name, no connection, no TLS, no time, or too much of something
    internal      the platform's own fault

Everything else about it is in `runner.egress`; which of these it was, and what would change it, is in the debug stream.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from runner.capabilities.capability import Call, Capability
from runner.egress.fetch import Egress, Execution, Fetches
from runner.egress.report import Caller
from runner.secrets.execution import ExecutionSecrets, SecretMissingError
from shared.egress import Denied, Reason
from shared.egress_url import Target
from shared.errors import PlatformError

Header = tuple[str, str]
HttpRequest = tuple[str, str, list[Header], bytes | None]
"""`http-request`, its fields in WIT order."""
HttpResponse = tuple[int, list[Header], bytes | None]
"""`http-response`, its fields in WIT order."""

_SHOWN_CHARS: Final = 128  # of a name in a message: the longest one there can be

CAPABILITY: Final = Capability(name="cap:http.fetch", interface="http")


class Http:
    """The fetches of one execution."""

    def __init__(self, egress: Egress, call: Call) -> None:
        context = call.request.context
        self._fetches = Fetches(
            egress,
            Execution(
                caller=Caller(context.tenant_id, context.extension_id, context.install_id, context.request_id),
                grants=call.request.egress,
                deadline=call.deadline,
                recorder=call.recorder,
                count=call.meter.egress,
                secrets=_Secrets(call.secrets),
            ),
        )

    async def fetch(self, request: HttpRequest) -> tuple[bool, HttpResponse | str]:
        """The answer, or the case of `http-error`."""
        method, url, headers, body = request
        answer = await self._fetches.fetch(method, url, [(name, value) for name, value in headers], body or b"")
        if isinstance(answer, str):
            return False, answer
        return True, (answer.status, list(answer.headers), answer.body or None)


class _Secrets:
    """The execution's secrets, as far as they may be put into requests. Being bound to the host is the grant."""

    def __init__(self, secrets: ExecutionSecrets) -> None:
        self._secrets = secrets

    async def inject(self, name: str, target: Target) -> str | Denied:
        try:
            return await self._secrets.inject(name, target)
        except SecretMissingError:
            return Denied(
                Reason.SECRET, f"no secret {name[:_SHOWN_CHARS]!r} is set for this install; setting it would allow this"
            )
        except PlatformError as error:
            return Denied(Reason.SECRET, f"secret {name[:_SHOWN_CHARS]!r}: {error.code}: {error.detail}")


def capability(egress: Egress) -> Capability:
    """The capability, answered by an `Http` for each call."""
    return Capability(name=CAPABILITY.name, interface=CAPABILITY.interface, open=partial(Http, egress))
