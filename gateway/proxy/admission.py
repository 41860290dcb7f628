"""May this call run? Every step that can refuse it before it costs more than reading.

In this order: headers → identify → path → resolve → authorise → endpoint policy → body.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import Receive

from gateway.identity.authenticate import Identity
from gateway.identity.principal import Principal
from gateway.installs.resolve import InstallResolver
from gateway.installs.resolved import ResolvedInstall
from gateway.policy import access, endpoints, paths
from gateway.policy import headers as header_policy
from gateway.policy.endpoints import EndpointPolicy, Match
from gateway.proxy import body
from gateway.proxy.envelope import Incoming
from shared.errors import EndpointNotFound, Forbidden, NotInstalled


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the server delivered, undecided.

    Attributes:
        raw_path, raw_query: the request target's bytes.
        headers: as they came, names in lower case.
        receive: the rest of the request.
        note: told which tenant, extension and install it is about, as soon as that is known.
    """

    request_id: str
    method: str
    raw_path: bytes
    raw_query: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    receive: Receive
    note: Callable[..., None]


@dataclass(frozen=True, slots=True)
class Admitted:
    """A call that may run."""

    principal: Principal
    install: ResolvedInstall
    match: Match
    incoming: Incoming


class Admission:
    """Decides about calls.

    Args:
        identity: who calls.
        resolver: which install is meant.
        endpoint_policy: the platform's; an install's own can only be stricter.
    """

    def __init__(self, identity: Identity, resolver: InstallResolver, endpoint_policy: EndpointPolicy) -> None:
        self._identity = identity
        self._resolver = resolver
        self._endpoint_policy: EndpointPolicy = endpoint_policy

    async def admit(self, request: Request) -> Admitted:
        """The call with everything that was found out about it.

        Raises:
            PlatformError: the first step that refuses.
            ClientGoneError: the client went away while its body was read.
        """
        access.check_method(request.method)
        header_policy.check_block(request.headers)
        header_policy.check_framing(request.headers)
        if header_policy.loads_as_script(request.headers):
            raise Forbidden("an extension's answer cannot be loaded as a script or worker")
        principal = await self._identity.authenticate(request.headers, iframe=True)
        request.note(tenant_id=principal.tenant_id)
        path = paths.parse(request.raw_path)
        query_string, query = paths.query(request.raw_query)
        install = await self._find(principal, path.extension)
        request.note(extension_id=install.extension_id, install_id=install.install_id)
        access.authorise(principal, install, request.method)
        policy = endpoints.effective(self._endpoint_policy, install.endpoint_policy)
        match = endpoints.decide(policy, install.endpoints, request.method, path.segments)
        if not install.runnable:
            raise EndpointNotFound("this extension has a user interface only, and nothing to call")
        incoming = Incoming(
            request_id=request.request_id,
            method=request.method,
            path=path.path,
            query=query,
            query_string=query_string,
            headers=request.headers,
            body=await body.read(request.receive),
        )
        return Admitted(principal, install, match, incoming)

    async def _find(self, principal: Principal, reference: str) -> ResolvedInstall:
        try:
            return await self._resolver.resolve(principal.tenant_id, reference)
        except NotInstalled as error:
            raise access.absent(principal, error) from error
