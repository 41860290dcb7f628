"""The envelope of one call: who calls, whose install, which request, under which grants. Pure but for token ids.

Every word about tenant, install and grants comes from the verified principal and the resolved install; the request
contributes method, path, query, allowed headers and body, nothing else.
"""

from __future__ import annotations

from typing import Final, get_args

import msgspec

from gateway.identity.principal import Principal, Trigger
from gateway.installs.resolved import ResolvedInstall
from gateway.policy import headers as header_policy
from gateway.policy.endpoints import Match
from gateway.proxy import trace
from gateway.proxy.tokens import TokenMint
from shared.events import TRIGGER_HEADER
from shared.wire import Context, ExecuteRequest, Http, Limits, User

_TRIGGERS: Final = frozenset(get_args(Trigger))


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """A client's request after the door checked it.

    Attributes:
        path: canonical, as `gateway.policy.paths.parse` wrote it.
        headers: as they came, names in lower case.
        body: none when there is none.
        hops: how many events led to this request.
    """

    request_id: str
    method: str
    path: str
    query: dict[str, str]
    query_string: str | None
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes | None
    hops: int = 0


def build(
    incoming: Incoming, principal: Principal, install: ResolvedInstall, *, timeout_ms: int, tokens: TokenMint
) -> ExecuteRequest:
    """What the runner is asked.

    Args:
        timeout_ms: the call's time, from now; the tokens inside end a grace after it.
        tokens: mints the host token and one token for each granted provider.

    Raises:
        InvalidRequest: an allowed header is not acceptable.
    """
    context = Context(
        request_id=incoming.request_id,
        tenant_id=principal.tenant_id,
        extension_id=install.extension_id,
        install_id=install.install_id,
        version_id=install.version_id,
        content_hash=install.content_hash,
    )
    caps, generation, user = install.capabilities, install.generation, _user(principal)
    return ExecuteRequest(
        context=context,
        http=_http(incoming, context, principal),
        limits=Limits(timeout_ms=timeout_ms, memory_mb=install.memory_mb),
        config=install.config,
        providers=caps,
        egress=install.egress,
        user=user,
        secret_envelopes=install.secrets,
        provider_tokens=tokens.providers(context, caps, timeout_ms=timeout_ms, generation=generation, user=user),
        provider_digests=tokens.provider_digests(caps),
        host_token=tokens.host(context, caps, timeout_ms=timeout_ms, generation=generation, hops=incoming.hops),
        debug=install.debug,
    )


def routing_headers(incoming: Incoming, install: ResolvedInstall) -> dict[str, str]:
    """The headers beside the envelope: what a proxy or a log in between may look at."""
    given = [value.decode("latin-1") for name, value in incoming.headers if name == b"traceparent"]
    return {
        "x-request-id": incoming.request_id,
        "x-alga-tenant": install.tenant_id,
        "x-alga-extension": install.extension_id,
        "x-ext-config-version": str(install.config_version),
        "x-ext-secrets-version": str(install.secrets_version),
        "traceparent": trace.child(given[0] if len(given) == 1 else None),
    }


def effective_timeout_ms(platform_ms: int, install: ResolvedInstall, match: Match) -> int:
    """The least of the platform's, the manifest's and the endpoint's time for one call."""
    asked = (install.timeout_ms, match.endpoint.timeout_ms if match.endpoint else None)
    return min([platform_ms, *(limit_ms for limit_ms in asked if limit_ms is not None)])


def _http(incoming: Incoming, context: Context, principal: Principal) -> Http:
    headers = header_policy.to_guest(
        incoming.headers,
        tenant_id=context.tenant_id,
        extension_id=context.extension_id,
        request_id=context.request_id,
    )
    if principal.kind in _TRIGGERS:
        headers[TRIGGER_HEADER] = principal.kind
    return Http(
        method="GET" if incoming.method == "HEAD" else incoming.method,
        path=incoming.path,
        query=incoming.query,
        query_string=incoming.query_string,
        headers=headers,
        body=incoming.body,
    )


def _user(principal: Principal) -> User | None:
    """The person behind the call, if there is one."""
    if not principal.is_person:
        return None
    return User(
        user_id=principal.subject,
        user_email=principal.email,
        user_name=principal.name,
        user_type=principal.user_type,
        client_id=principal.client_id,
    )
