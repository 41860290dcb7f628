"""The secrets of one execution: sealed until asked for by name, bound to tenant, install, name, time and hosts.

What is refused to the guest is told to people: a debug event, a log line and the code in the execution's record say
why, with the secret's name and never its value. Every value is concealed in all that leaves the runner before anyone
gets it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Final, Self

import structlog

from runner.debug.recorder import Recorder
from runner.secrets.keyring import Keyring
from shared.egress import EntryError, parse_entry
from shared.egress_url import Target
from shared.errors import (
    PlatformError,
    SecretBindingMismatch,
    SecretExpired,
    SecretHostMismatch,
    SecretUnavailable,
)
from shared.sealing import bound_values
from shared.wire import Context, ExecuteRequest, SecretEnvelope

CAPABILITY: Final = "cap:secrets.get"
_SHOWN_CHARS: Final = 128  # of a name in a message: the longest one there can be

_log = structlog.get_logger("secrets")


class SecretMissingError(Exception):
    """The install has no secret of this name."""


class ExecutionSecrets:
    """Opens envelopes for one execution and forgets with it.

    Args:
        context: whose execution it is.
        envelopes: what came along; one without a name may hold several secrets.
        keyring: what this runner can open.
        recorder: conceals values, takes the codes of refusals.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        context: Context,
        envelopes: tuple[SecretEnvelope, ...],
        keyring: Keyring,
        recorder: Recorder,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._context, self._keyring, self._recorder = context, keyring, recorder
        self._clock = clock
        self._envelopes = envelopes
        self._named = {envelope.name: envelope for envelope in reversed(envelopes) if envelope.name}
        self._several = tuple(envelope for envelope in envelopes if not envelope.name)
        self._opened: dict[SecretEnvelope, dict[str, str]] = {}

    @classmethod
    def of(cls, request: ExecuteRequest, keyring: Keyring, recorder: Recorder) -> Self:
        """What came along with a request, in the newer form and in the older one."""
        single = () if request.secret_envelope is None else (request.secret_envelope,)
        return cls(request.context, (*request.secret_envelopes, *single), keyring, recorder)

    @classmethod
    def none(cls) -> Self:
        """Of an execution to which no secret came along."""
        nobody = Context(request_id="", tenant_id="", extension_id="", install_id="", version_id="", content_hash="")
        return cls(nobody, (), Keyring(), Recorder(nobody, None))

    def check(self, granted: frozenset[str]) -> None:
        """Refuse the execution before it is dispatched when the guest may ask for what cannot be opened here.

        Raises:
            SecretUnavailable: an envelope's algorithm or key is unknown to this runner; there is no weaker form.
        """
        if CAPABILITY in granted:
            for envelope in self._envelopes:
                self._keyring.check(envelope)

    async def names(self) -> list[str]:
        """The names there are, in order; of a box that cannot be opened nothing is known."""
        found = set(self._named)
        for envelope in self._several:
            try:
                found |= set(await self._values(envelope))
            except PlatformError as error:
                self._refused(error, "")
        return sorted(found)

    async def value(self, name: str) -> str:
        """The plaintext of one secret, concealed from now on in all that leaves the runner.

        Raises:
            SecretMissingError: there is none of this name.
            SecretExpired, SecretBindingMismatch, SecretUnavailable: there is, but not for this execution, now, here.
        """
        try:
            return await self._find(name, self._holding(name))
        except SecretMissingError:
            message = f"no secret {name[:_SHOWN_CHARS]!r} is set for this install; setting it would answer this call"
            self._recorder.record("info", "system", message)
            raise

    async def inject(self, name: str, target: Target) -> str:
        """The plaintext of one secret for a request to `target`; the guest never sees it.

        Raises:
            SecretHostMismatch: the install did not bind the secret to this scheme, host and port.
            SecretMissingError, SecretExpired, SecretBindingMismatch, SecretUnavailable: as `value` does.
        """
        holding = self._holding(name)
        bound = tuple(envelope for envelope in holding if self._is_bound(envelope, target))
        if holding and not bound:
            error = SecretHostMismatch(
                f'not bound to {target.origin}; "{target.origin}" among its hosts would allow it'
            )
            self._refused(error, name)
            raise error
        return await self._find(name, bound)

    # ---- inside ---------------------------------------------------------------------------------------------

    def _holding(self, name: str) -> tuple[SecretEnvelope, ...]:
        """The boxes that may hold this secret."""
        named = self._named.get(name)
        return self._several if named is None else (named,)

    async def _find(self, name: str, among: tuple[SecretEnvelope, ...]) -> str:
        for envelope in among:
            try:
                values = await self._values(envelope)
            except PlatformError as error:
                self._refused(error, name)
                raise
            if name in values:
                self._recorder.conceal(values[name])
                return values[name]
        raise SecretMissingError

    async def _values(self, envelope: SecretEnvelope) -> dict[str, str]:
        self._check_time(envelope)
        known = self._opened.get(envelope)
        if known is None:
            plaintext = await self._keyring.open(envelope)
            known = bound_values(
                plaintext,
                tenant=self._context.tenant_id,
                install=self._context.install_id,
                name=envelope.name,
            )
            self._opened[envelope] = known
        return known

    def _check_time(self, envelope: SecretEnvelope) -> None:
        if envelope.expires_at is None:
            return
        try:
            ends = datetime.fromisoformat(envelope.expires_at)
        except ValueError:
            raise SecretUnavailable("expires_at is not a time") from None
        if ends.tzinfo is None:
            raise SecretUnavailable("expires_at has no time zone")
        if self._clock() >= ends.timestamp():
            raise SecretExpired(f"it ended at {envelope.expires_at}; setting it again with a later end would allow it")

    def _is_bound(self, envelope: SecretEnvelope, target: Target) -> bool:
        # Which addresses may be contacted at all was decided before; here it only matters whether this one is named.
        named = frozenset({target.endpoint})
        for text in envelope.hosts:
            try:
                if parse_entry(text, named).matches(target):
                    return True
            except EntryError:
                continue  # an entry outside the grammar never matches
        return False

    def _refused(self, error: PlatformError, name: str) -> None:
        context = self._context
        self._recorder.incident(error.code, f"secret {name[:_SHOWN_CHARS]!r}: {error.code}: {error.detail}")
        log = _log.error if isinstance(error, SecretBindingMismatch) else _log.warning
        log(
            "secret_refused",
            code=error.code,
            detail=error.detail,
            secret_name=name[:_SHOWN_CHARS],
            tenant=context.tenant_id,
            extension=context.extension_id,
            install=context.install_id,
            request_id=context.request_id,
        )
