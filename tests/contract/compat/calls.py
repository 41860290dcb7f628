"""One call of each interface in four ways: over an engine's own bindings and over our runtimes, in two languages.

Beside each stand what the host is asked, what it answers, and what the guest makes of that, granted and denied. Values
differ from field to field, so that an order which changed is seen. JSON has bytes as lists of numbers, names in camel
case, enums as WIT writes them and headers as pairs, which is how our Python runtime gives them.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One function.

    Attributes:
        function: in WIT.
        js, python: over what the toolchain generates; `u64` makes what an engine takes for one.
        js_runtime, python_runtime: over `host` of our runtimes.
        asked: the arguments the host is given; none when the sandbox answers by itself.
        answer: what the host says, in the form of the sandbox's protocol.
        granted: what the guest tells of that.
        denied: what it tells without the grant.
    """

    function: str
    js: str
    python: str
    js_runtime: str
    python_runtime: str
    asked: list[Any] | None = None
    answer: Any = None
    granted: Any
    denied: Any


USER: Final = (
    *("acme", "Initech", "u-1", "u@acme.example", "Ursula", "client"),
    *("c-1", [("colour", "blue"), ("size", "s")]),
)
"""What the sandbox is told of the caller, as `user-data-v2` has it."""

_TOLD_USER: Final = {
    "tenantId": "acme",
    "clientName": "Initech",
    "userId": "u-1",
    "userEmail": "u@acme.example",
    "userName": "Ursula",
    "userType": "client",
}
_TOLD_CONTEXT: Final = {
    "requestId": "request",
    "tenantId": "acme",
    "extensionId": "extension",
    "installId": "install",
    "versionId": "version",
}
_SCHEDULE: Final = {
    "id": "s-1",
    "endpointPath": "/report",
    "endpointMethod": "POST",
    "name": None,
    "cron": "0 6 * * 1",
    "timezone": "Europe/Berlin",
    "enabled": True,
    "payload": "{}",
    "lastRunAt": None,
    "lastRunStatus": "ok",
    "lastError": None,
    "createdAt": "2030-01-01T00:00:00Z",
}
_CLIENT: Final = {
    "clientId": "c-2",
    "clientName": "Hooli",
    "clientType": "company",
    "isInactive": True,
    "defaultCurrencyCode": None,
    "accountManagerId": "u-7",
    "accountManagerName": None,
    "billingEmail": "bill@hooli.example",
}
_SERVICE: Final = {
    "serviceId": "s-2",
    "serviceName": "Router",
    "itemKind": "product",
    "billingMethod": "usage",
    "serviceTypeId": None,
    "serviceTypeName": "Hardware",
    "defaultRate": 80.5,
    "unitOfMeasure": "piece",
    "isActive": True,
    "sku": "R-1",
}
_INVOICE: Final = {
    "success": True,
    "invoiceId": "i-1",
    "invoiceNumber": "2030-1",
    "status": "draft",
    "subtotal": 200.5,
    "tax": None,
    "total": 220.25,
    "error": None,
    "fieldErrors": None,
}
_NO_INVOICE: Final = dict.fromkeys(_INVOICE) | {
    "success": False,
    "error": "cap:invoice.manual.create is not granted to this install",
}


def _numbers(text: str) -> list[int]:
    return list(text.encode())


CALLS: Final[dict[str, Call]] = {
    "context": Call(
        function="get-context",
        js="context.getContext()",
        python="context.get_context()",
        js_runtime="host.context.getContext()",
        python_runtime="host.context.get_context()",
        granted={"value": _TOLD_CONTEXT},
        denied={"value": _TOLD_CONTEXT},  # cannot be withheld
    ),
    "logging": Call(
        function="log-warn",
        js="logging.logWarn('careful')",
        python="logging.log_warn('careful')",
        js_runtime="host.logging.logWarn('careful')",
        python_runtime="host.logging.log_warn('careful')",
        granted={"value": None},
        denied={"value": None},
    ),
    "secrets": Call(
        function="get",
        js="secrets.get('api_key')",
        python="secrets.get('api_key')",
        js_runtime="host.secrets.get('api_key')",
        python_runtime="host.secrets.get('api_key')",
        asked=["api_key"],
        answer=(False, "expired"),
        granted={"error": "expired"},
        denied={"error": "denied"},
    ),
    "http": Call(
        function="fetch",
        js="http.fetch({ method: 'POST', url: 'https://a.example/x', headers: [{ name: 'a', value: 'b' }],"
        " body: new Uint8Array([1, 2]) })",
        python="http.fetch(types.HttpRequest('POST', 'https://a.example/x', [types.HttpHeader('a', 'b')], bytes([1, 2])))",
        js_runtime="host.http.fetch({ method: 'POST', url: 'https://a.example/x', headers: { a: 'b' },"
        " body: new Uint8Array([1, 2]) })",
        python_runtime="host.http.fetch('https://a.example/x', method='POST', headers={'a': 'b'}, body=bytes([1, 2]))",
        asked=["POST", "https://a.example/x", [["a", "b"]], [1, 2]],
        answer=(True, (404, [("c", "d")], b"no")),
        granted={"value": {"status": 404, "headers": [["c", "d"]], "body": _numbers("no")}},
        denied={"error": "not-allowed"},
    ),
    "storage": Call(
        function="put",
        js="storage.put({ namespace: 'n', key: 'k', value: new Uint8Array([3]), revision: u64(7) })",
        python="storage.put(types.StorageEntry('n', 'k', bytes([3]), 7))",
        js_runtime="host.storage.put({ namespace: 'n', key: 'k', value: new Uint8Array([3]), revision: 7 })",
        python_runtime="host.storage.put('n', 'k', bytes([3]), revision=7)",
        asked=["n", "k", [3], 7],
        answer=(True, ("n", "k", b"\x03", 8)),
        granted={"value": {"namespace": "n", "key": "k", "value": [3], "revision": 8}},
        denied={"error": "denied"},
    ),
    "ui-proxy": Call(
        function="call-route",
        js="uiProxy.callRoute('status', new Uint8Array([4]))",
        python="ui_proxy.call_route('status', bytes([4]))",
        js_runtime="host.uiProxy.callRoute('status', new Uint8Array([4]))",
        python_runtime="host.ui_proxy.call_route('status', bytes([4]))",
        asked=["status", [4]],
        answer=(False, "route-not-found"),
        granted={"error": "route-not-found"},
        denied={"error": "denied"},
    ),
    "user": Call(
        function="get-user",
        js="user.getUser()",
        python="user.get_user()",
        js_runtime="host.user.getUser()",
        python_runtime="host.user.get_user()",
        granted={"value": _TOLD_USER},
        denied={"error": "not-allowed"},
    ),
    "user-v2": Call(
        function="get-user",
        js="userV2.getUser()",
        python="user_v2.get_user()",
        js_runtime="host.user.getUserV2()",
        python_runtime="host.user.get_user_v2()",
        granted={
            "value": _TOLD_USER | {"clientId": "c-1", "additionalFields": [["colour", "blue"], ["size", "s"]]},
        },
        denied={"error": "not-allowed"},
    ),
    "scheduler": Call(
        function="list-schedules",
        js="scheduler.listSchedules()",
        python="scheduler.list_schedules()",
        js_runtime="host.scheduler.listSchedules()",
        python_runtime="host.scheduler.list_schedules()",
        asked=[],
        answer=(True, [tuple(_SCHEDULE.values())]),
        granted={"value": [_SCHEDULE]},
        denied={"error": "denied"},
    ),
    "invoicing": Call(
        function="create-manual-invoice",
        js="invoicing.createManualInvoice({ clientId: 'c-1', items: [{ serviceId: 's-1', quantity: 2.5,"
        " description: 'Support', rate: 100, isDiscount: true, discountType: 'fixed', appliesToItemId: undefined,"
        " appliesToServiceId: 's-9' }], invoiceDate: '2030-01-31', dueDate: undefined, poNumber: 'PO 1' })",
        python="invoicing.create_manual_invoice(types.CreateManualInvoiceInput('c-1', [types.ManualInvoiceItemInput("
        "'s-1', 2.5, 'Support', 100, True, types.DiscountType.FIXED, None, 's-9')], '2030-01-31', None, 'PO 1'))",
        js_runtime="host.invoicing.createManualInvoice({ clientId: 'c-1', items: [{ serviceId: 's-1', quantity: 2.5,"
        " description: 'Support', rate: 100, isDiscount: true, discountType: 'fixed', appliesToServiceId: 's-9' }],"
        " invoiceDate: '2030-01-31', poNumber: 'PO 1' })",
        python_runtime="host.invoicing.create_manual_invoice('c-1', [ManualInvoiceItemInput('s-1', 2.5, 'Support', 100,"
        " True, 'fixed', None, 's-9')], invoice_date='2030-01-31', po_number='PO 1')",
        asked=["c-1", [["s-1", 2.5, "Support", 100, True, "fixed", None, "s-9"]], "2030-01-31", None, "PO 1"],
        answer=tuple(_INVOICE.values()),
        granted={"value": _INVOICE},
        denied={"value": _NO_INVOICE},
    ),
    "clients": Call(
        function="list-clients",
        js="clients.listClients({ search: 'o', includeInactive: true, page: 2, pageSize: undefined })",
        python="clients.list_clients(types.ClientsListInput('o', True, 2, None))",
        js_runtime="host.clients.listClients({ search: 'o', includeInactive: true, page: 2 })",
        python_runtime="host.clients.list_clients(search='o', include_inactive=True, page=2)",
        asked=["o", True, 2, None],
        answer=(True, ([tuple(_CLIENT.values())], 11, 2, 10)),
        granted={"value": {"items": [_CLIENT], "totalCount": 11, "page": 2, "pageSize": 10}},
        denied={"error": "not-allowed"},
    ),
    "services": Call(
        function="get-service",
        js="services.getService('s-2')",
        python="services.get_service('s-2')",
        js_runtime="host.services.getService('s-2')",
        python_runtime="host.services.get_service('s-2')",
        asked=["s-2"],
        answer=(True, tuple(_SERVICE.values())),
        granted={"value": _SERVICE},
        denied={"error": "not-allowed"},
    ),
    "metrics": Call(
        function="histogram",
        js="metrics.histogram('size', 1.5, [['kind', 'a']])",
        python="metrics.histogram('size', 1.5, [('kind', 'a')])",
        js_runtime="host.metrics.histogram('size', 1.5, { kind: 'a' })",
        python_runtime="host.metrics.histogram('size', 1.5, {'kind': 'a'})",
        asked=["size", 1.5, [["kind", "a"]]],
        granted={"value": None},
        denied={"value": None},
    ),
    "config": Call(
        function="get",
        js="config.get('region')",
        python="config.get('region')",
        js_runtime="host.config.get('region')",
        python_runtime="host.config.get('region')",
        granted={"value": "emea"},
        denied={"value": None},
    ),
    "events": Call(
        function="publish",
        js="events.publish('compat.made', new Uint8Array([5]))",
        python="events.publish('compat.made', bytes([5]))",
        js_runtime="host.events.publish('compat.made', new Uint8Array([5]))",
        python_runtime="host.events.publish('compat.made', bytes([5]))",
        asked=["compat.made", [5]],
        answer=(False, "one too many"),
        granted={"error": "one too many"},
        denied={"error": "cap:events.publish is not granted to this install"},
    ),
}
