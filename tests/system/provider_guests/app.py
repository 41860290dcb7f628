"""A guest that uses every service of the host application and one that only the operator knows. Its twin is handler.js."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from typing import Any
from urllib.parse import parse_qs

from alga_extension import (
    Host,
    HostError,
    ManualInvoiceItemInput,
    Request,
    Response,
    Router,
    entry,
    json_response,
    provider,
)

router = Router()
contacts = provider("crm")
WitWorld = entry(router)

_ITEM = {
    "serviceId": "service_id",
    "isDiscount": "is_discount",
    "discountType": "discount_type",
    "appliesToItemId": "applies_to_item_id",
}


def camel(value: object) -> Any:
    """Records as JavaScript has them, so that both guests can be asked alike."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    elif hasattr(value, "__dict__"):
        value = vars(value)
    if isinstance(value, dict):
        return {_camel(name): camel(held) for name, held in value.items()}
    return [camel(item) for item in value] if isinstance(value, list) else value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def told(call: Callable[[], object]) -> Response:
    try:
        return json_response({"value": camel(call())})
    except HostError as error:
        return json_response({"interface": error.interface, "error": error.code})


def asked(request: Request, name: str) -> str | None:
    return parse_qs(request.url.partition("?")[2], keep_blank_values=True).get(name, [None])[0]


@router.get("/clients")
def list_clients(request: Request, host: Host) -> Response:
    page = asked(request, "page")
    return told(
        lambda: host.clients.list_clients(
            search=asked(request, "search"),
            include_inactive=True if asked(request, "all") is not None else None,
            page=None if page is None else int(page),
        )
    )


@router.get("/clients/:id")
def get_client(request: Request, host: Host) -> Response:
    return told(lambda: host.clients.get_client(request.params["id"]))


@router.get("/services")
def list_services(request: Request, host: Host) -> Response:
    return told(lambda: host.services.list_services(item_kind=asked(request, "kind")))  # type: ignore[arg-type]  # checked


@router.get("/services/:id")
def get_service(request: Request, host: Host) -> Response:
    return told(lambda: host.services.get_service(request.params["id"]))


@router.post("/invoices")
def create_invoice(request: Request, host: Host) -> Response:
    wanted: Any = request.json()
    items = [
        ManualInvoiceItemInput(**{_ITEM.get(name, name): value for name, value in item.items()})
        for item in wanted["items"]
    ]
    return told(
        lambda: host.invoicing.create_manual_invoice(wanted["clientId"], items, po_number=wanted.get("poNumber"))
    )


@router.get("/contacts")
def find_contacts(request: Request, _host: Host) -> Response:
    return told(lambda: contacts.find_contacts(asked(request, "search"), 10))


@router.get("/contacts/:id")
def get_contact(request: Request, _host: Host) -> Response:
    return told(lambda: contacts.get_contact(request.params["id"]))


@router.delete("/contacts/:id")
def forget(request: Request, _host: Host) -> Response:
    return told(lambda: contacts.forget(request.params["id"]) or "forgotten")
