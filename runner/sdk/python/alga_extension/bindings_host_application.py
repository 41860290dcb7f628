"""The real services of the host application. Arguments are checked before they cross, as in `alga_extension.bindings`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from alga_extension.arguments import as_number, as_optional_case, as_optional_flag, as_optional_text, as_text, as_u32
from alga_extension.host_application import (
    ClientsListResult,
    ClientSummary,
    CreateManualInvoiceResult,
    ManualInvoiceItemInput,
    ServiceBillingMethod,
    ServiceItemKind,
    ServicesListResult,
    ServiceSummary,
)
from alga_extension.interfaces import Interface, as_record, case_name


class Invoicing:
    """Invoices."""

    def __init__(self, interface: Interface, types: Any) -> None:
        self._interface, self._types = interface, types

    def create_manual_invoice(
        self,
        client_id: str,
        items: Iterable[ManualInvoiceItemInput],
        *,
        invoice_date: str | None = None,
        due_date: str | None = None,
        po_number: str | None = None,
    ) -> CreateManualInvoiceResult:
        """Write an invoice."""
        wanted = self._types.CreateManualInvoiceInput(
            as_text(client_id, "client_id"),
            [self._item(item) for item in items],
            as_optional_text(invoice_date, "invoice_date"),
            as_optional_text(due_date, "due_date"),
            as_optional_text(po_number, "po_number"),
        )
        return as_record(CreateManualInvoiceResult, self._interface.call("create_manual_invoice", wanted))

    def _item(self, item: ManualInvoiceItemInput) -> object:
        found: object = self._types.ManualInvoiceItemInput(
            as_text(item.service_id, "service_id"),
            as_number(item.quantity, "quantity"),
            as_text(item.description, "description"),
            as_number(item.rate, "rate"),
            as_optional_flag(item.is_discount, "is_discount"),
            as_optional_case(item.discount_type, self._types, "DiscountType"),
            as_optional_text(item.applies_to_item_id, "applies_to_item_id"),
            as_optional_text(item.applies_to_service_id, "applies_to_service_id"),
        )
        return found


class Clients:
    """The tenant's clients."""

    def __init__(self, interface: Interface, types: Any) -> None:
        self._interface, self._types = interface, types

    def list_clients(
        self,
        *,
        search: str | None = None,
        include_inactive: bool | None = None,
        page: int | None = None,
        page_size: int | None = None,
    ) -> ClientsListResult:
        """A page of clients."""
        wanted = self._types.ClientsListInput(
            as_optional_text(search, "search"),
            as_optional_flag(include_inactive, "include_inactive"),
            as_u32(page, "page"),
            as_u32(page_size, "page_size"),
        )
        found = self._interface.call("list_clients", wanted)
        return as_record(ClientsListResult, found, items=[as_record(ClientSummary, one) for one in found.items])

    def get_client(self, client_id: str) -> ClientSummary | None:
        """One client."""
        found = self._interface.call("get_client", as_text(client_id, "client_id"))
        return None if found is None else as_record(ClientSummary, found)


class Services:
    """What the tenant sells."""

    def __init__(self, interface: Interface, types: Any) -> None:
        self._interface, self._types = interface, types

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
        wanted = self._types.ServicesListInput(
            as_optional_text(search, "search"),
            as_optional_case(item_kind, self._types, "ServiceItemKind"),
            as_optional_flag(is_active, "is_active"),
            as_optional_case(billing_method, self._types, "ServiceBillingMethod"),
            as_u32(page, "page"),
            as_u32(page_size, "page_size"),
        )
        found = self._interface.call("list_services", wanted)
        return as_record(ServicesListResult, found, items=[_service(one) for one in found.items])

    def get_service(self, service_id: str) -> ServiceSummary | None:
        """One service."""
        found = self._interface.call("get_service", as_text(service_id, "service_id"))
        return None if found is None else _service(found)


def _service(raw: Any) -> ServiceSummary:
    return as_record(
        ServiceSummary, raw, item_kind=case_name(raw.item_kind), billing_method=case_name(raw.billing_method)
    )
