"""Every service of the host application, by one implementation. WIT and description: `shared.provider_files`.

A guest's call becomes a POST of `{operation, input, user, context}` to the provider's address, names in its case:

    operation   the function: `listClients`
    input       its only parameter, when that is a record; else an object of its parameters
    user        who stands behind the call, as the gateway said; null for nobody. Never anything the guest said
    context     request, tenant, extension, install and version

An answer of 2xx is the function's result in JSON (of a `result`, its ok side). Others become its error:

    400, 422    `invalid-input`, where the error has it
    401, 403    as if it was not granted
    404, 409    `not-found`, `conflict`, where the error has them
    any other, a redirect, no answer in time, an answer that is not of the type: `internal`

A function that answers a record says `success: false` and the reason in `error`; where a refusal of the host application
(4xx) is such a record itself, the guest gets it as it is. Why, the debug stream says, once for each reason; what the
operator could change (an address, a key, a fault of the host application) is a line of the log as well.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, Final, Protocol

import msgspec
import structlog

from runner.capabilities.capability import Call, Capability
from shared.errors import Internal
from shared.limits import PROVIDER_CALL_MAX_S, PROVIDER_REQUEST_MAX_BYTES
from shared.provider import Provider
from shared.strict_json import JsonValue
from shared.wire import ExecuteRequest
from shared.wit_answers import told_answer
from shared.wit_json import FieldCase, WitJsonError, json_name
from shared.wit_json_reader import from_json
from shared.wit_json_writer import to_json
from shared.wit_types import Function, Record, ResultOf

ENDPOINTS: Final = "RUNNER_PROVIDER_ENDPOINTS"

_REFUSED: Final = ("denied", "not-allowed")
_INVALID: Final = ("invalid-input", "validation-failed", "bad-request", "internal")
_FAILED: Final = ("internal",)
_CASES: Final[dict[int, tuple[str, ...]]] = {
    400: _INVALID,
    401: _REFUSED,
    403: _REFUSED,
    404: ("not-found", "missing", "internal"),
    409: ("conflict", "internal"),
    422: _INVALID,
    429: ("quota-exceeded", "internal"),
}


_log = structlog.get_logger("providers")


class Client(Protocol):
    """Asks the host application."""

    async def ask(self, url: str, body: bytes, *, token: str, request_id: str, timeout_s: float) -> tuple[int, bytes]:
        """Status and body of the answer to one POST. Raises `Internal` when there is none."""
        ...


def capability(provider: Provider, url: str | None, client: Client) -> Capability:
    """The capability of one provider.

    Args:
        provider: as its files describe it.
        url: its address; without one every call fails, and the debug stream says what is missing.
        client: asks it.
    """
    asked = [_Function(provider, function) for function in provider.interface.functions]

    def opened(call: Call) -> SimpleNamespace:
        caller = _Caller(provider, url, client, call)
        return SimpleNamespace(**{one.coroutine: partial(caller.ask, one) for one in asked})

    return Capability(name=provider.capability, interface=provider.name, open=opened, digest=provider.digest())


class _Function:
    """One function, its types compiled once for the process."""

    def __init__(self, provider: Provider, function: Function) -> None:
        case = provider.case
        self.signature = function
        self.coroutine = function.name.replace("-", "_")
        self.operation = json_name(function.name, case)
        result = function.result
        self.answers_record = isinstance(result, Record)
        payload = result.ok if isinstance(result, ResultOf) else result
        self._write = _input_writer(function, case)
        self._read = None if payload is None else from_json(payload, case)
        self._success_at = [name for name, _ in result.fields].index("success") if isinstance(result, Record) else 0

    def input(self, arguments: tuple[Any, ...]) -> JsonValue:
        """The arguments as JSON. Raises `WitJsonError`."""
        return self._write(arguments)

    def value(self, body: bytes) -> Any:
        """The result that a 2xx answer means. Raises `WitJsonError`."""
        if self._read is None:  # nothing is said, so nothing can be wrong
            return True, None
        found = self._read(body)
        return found if self.answers_record else (True, found)

    def refusal(self, body: bytes) -> Any:
        """The record with `success: false` in the body of a refusal; `None` when there is none."""
        if not self.answers_record:
            return None
        try:
            found = self.value(body)
        except WitJsonError:
            return None
        return None if found[self._success_at] else found


class _Caller:
    """The calls of one execution to one provider."""

    def __init__(self, provider: Provider, url: str | None, client: Client, call: Call) -> None:
        self._provider, self._url, self._client, self._call = provider, url, client, call
        self._explained: set[str] = set()
        case = provider.case
        self._user, self._context = _user(call.request, case), _context(call.request, case)

    async def ask(self, function: _Function, *arguments: Any) -> Any:
        """The value of one call, of the function's result type."""
        token = self._call.request.provider_tokens.get(self._provider.name)
        if self._url is None:
            reason = f"{ENDPOINTS} has no address for {self._provider.endpoint}"
            return self._failed(function, "it is not configured here", reason)
        if token is None:
            reason = "this call carries no token for it, as it did not come through the gateway"
            return self._answer(function, _REFUSED, reason, reason)
        try:
            body = self._body(function, arguments)
        except WitJsonError as error:
            return self._answer(function, _INVALID, f"{error}", f"the arguments cannot be sent: {error}")
        timeout_s = min(PROVIDER_CALL_MAX_S, self._call.deadline.remaining_s())
        request_id = self._call.request.context.request_id
        try:
            status, said = await self._client.ask(
                self._url, body, token=token, request_id=request_id, timeout_s=timeout_s
            )
        except Internal as error:
            return self._failed(function, "it gave no answer", error.detail)
        return self._taken(function, status, said)

    def _body(self, function: _Function, arguments: tuple[Any, ...]) -> bytes:
        """What is sent. Raises `WitJsonError`."""
        said = {
            "operation": function.operation,
            "input": function.input(arguments),
            "user": self._user,
            "context": self._context,
        }
        body = msgspec.json.encode(said)
        if len(body) > PROVIDER_REQUEST_MAX_BYTES:
            raise WitJsonError(f"more than {PROVIDER_REQUEST_MAX_BYTES} bytes of JSON")
        return body

    def _taken(self, function: _Function, status: int, body: bytes) -> Any:
        if 200 <= status <= 299:
            try:
                return function.value(body)
            except WitJsonError as error:
                reason = f"its answer is not of the function's type: {error}"
                return self._failed(function, "it gave no usable answer", reason)
        answered = f"it answered {status}"
        if not 400 <= status <= 499:
            return self._failed(function, answered, answered)
        refusal = function.refusal(body)
        if refusal is not None:
            return refusal
        if status == 401:  # which no guest can bring about: the token is not its own
            self._log(function, answered)
        return self._answer(function, _CASES.get(status, _FAILED), answered, answered)

    def _failed(self, function: _Function, told: str, reason: str) -> Any:
        """The function's failure, which is not the guest's fault."""
        self._log(function, reason)
        return self._answer(function, _FAILED, told, reason)

    def _log(self, function: _Function, reason: str) -> None:
        """A line for the operator."""
        if reason not in self._explained:
            name, context = function.signature.name, self._call.request.context
            _log.warning(
                "provider_failed",
                provider=self._provider.name,
                function=name,
                reason=reason,
                tenant=context.tenant_id,
                request_id=context.request_id,
            )

    def _answer(self, function: _Function, cases: tuple[str, ...], told: str, reason: str) -> Any:
        """The function's own refusal or failure; the author reads the reason in the debug stream."""
        if reason not in self._explained:
            self._explained.add(reason)
            message = f"{self._provider.name}.{function.signature.name}: {reason}"
            self._call.recorder.record("warn", "system", message)
        return told_answer(function.signature, cases, f"{self._provider.name}: {told}")


def _input_writer(function: Function, case: FieldCase) -> Callable[[tuple[Any, ...]], JsonValue]:
    if len(function.params) == 1 and isinstance(function.params[0][1], Record):
        write = to_json(function.params[0][1], case)
        return lambda arguments: write(*arguments) if len(arguments) == 1 else _miscounted(function)
    return to_json(Record(function.name, function.params), case)


def _miscounted(function: Function) -> JsonValue:
    raise WitJsonError(f"must be {len(function.params)} values")


def _user(request: ExecuteRequest, case: FieldCase) -> JsonValue:
    if request.user is None:
        return None
    return _cased(msgspec.structs.asdict(request.user), case)


def _context(request: ExecuteRequest, case: FieldCase) -> JsonValue:
    context = request.context
    return _cased(
        {
            "request_id": context.request_id,
            "tenant_id": context.tenant_id,
            "extension_id": context.extension_id,
            "install_id": context.install_id,
            "version_id": context.version_id,
        },
        case,
    )


def _cased(fields: dict[str, Any], case: FieldCase) -> dict[str, JsonValue]:
    return {json_name(name.replace("_", "-"), case): value for name, value in fields.items()}
