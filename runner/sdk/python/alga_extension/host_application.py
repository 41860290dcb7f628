"""The host application's reference services: their records in Python style, and one protocol each.

A manifest that declares `cap:invoice.manual.create`, `cap:client.read` or `cap:service.read` has the interface in its
world. Every call is synchronous; reads may raise `HostError` with `not-allowed`, `invalid-input` or `internal`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

DiscountType = Literal["percentage", "fixed"]
ServiceItemKind = Literal["service", "product"]
ServiceBillingMethod = Literal["fixed", "hourly", "usage"]


@dataclass(frozen=True, slots=True)
class ManualInvoiceItemInput:
    """One line of an invoice; `discount_type` says how to read `rate` where `is_discount` is true."""

    service_id: str
    quantity: float
    description: str
    rate: float
    is_discount: bool | None = None
    discount_type: DiscountType | None = None
    applies_to_item_id: str | None = None
    applies_to_service_id: str | None = None


@dataclass(frozen=True, slots=True)
class CreateManualInvoiceResult:
    """What became of an invoice; `error` says why not, `field_errors` is a JSON object from field to message."""

    success: bool
    invoice_id: str | None = None
    invoice_number: str | None = None
    status: str | None = None
    subtotal: float | None = None
    tax: float | None = None
    total: float | None = None
    error: str | None = None
    field_errors: str | None = None


@dataclass(frozen=True, slots=True)
class ClientSummary:
    """A client of the tenant."""

    client_id: str
    client_name: str
    client_type: str | None = None
    is_inactive: bool = False
    default_currency_code: str | None = None
    account_manager_id: str | None = None
    account_manager_name: str | None = None
    billing_email: str | None = None


@dataclass(frozen=True, slots=True)
class ClientsListResult:
    """One page of clients, counted from 1, and how many there are on all of them."""

    items: list[ClientSummary]
    total_count: int
    page: int
    page_size: int


@dataclass(frozen=True, slots=True)
class ServiceSummary:
    """A service or product that the tenant sells."""

    service_id: str
    service_name: str
    item_kind: ServiceItemKind
    billing_method: ServiceBillingMethod
    service_type_id: str | None
    service_type_name: str | None
    default_rate: float
    unit_of_measure: str
    is_active: bool
    sku: str | None = None


@dataclass(frozen=True, slots=True)
class ServicesListResult:
    """One page of services, counted from 1, and how many there are on all of them."""

    items: list[ServiceSummary]
    total_count: int
    page: int
    page_size: int


class Invoicing(Protocol):
    """Invoices. Capability `cap:invoice.manual.create`."""

    def create_manual_invoice(
        self,
        client_id: str,
        items: Iterable[ManualInvoiceItemInput],
        *,
        invoice_date: str | None = None,
        due_date: str | None = None,
        po_number: str | None = None,
    ) -> CreateManualInvoiceResult:
        """Write an invoice; dates are ISO 8601. A refusal is in the result, that of a missing grant as well."""
        ...


class Clients(Protocol):
    """The tenant's clients; a client user is shown its own. Capability `cap:client.read`."""

    def list_clients(
        self,
        *,
        search: str | None = None,
        include_inactive: bool | None = None,
        page: int | None = None,
        page_size: int | None = None,
    ) -> ClientsListResult:
        """A page of clients."""
        ...

    def get_client(self, client_id: str) -> ClientSummary | None:
        """One client, `None` when there is none of this id."""
        ...


class Services(Protocol):
    """What the tenant sells. Capability `cap:service.read`."""

    def list_services(
        self,
        *,
        search: str | None = None,
        item_kind: ServiceItemKind | None = None,
        is_active: bool | None = None,
        billing_method: ServiceBillingMethod | None = None,
        page: int | None = None,
        page_size: int | None = None,
    ) -> ServicesListResult:
        """A page of services."""
        ...

    def get_service(self, service_id: str) -> ServiceSummary | None:
        """One service, `None` when there is none of this id."""
        ...
