"""The services of the host application for tests: data, filtered and paged as a host application does; without any, every
call is refused as it is without the grant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from alga_extension.arguments import as_text
from alga_extension.errors import HostError
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

PAGE_SIZE = 25

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class AskedInvoice:
    """An invoice that a handler asked for."""

    client_id: str
    items: tuple[ManualInvoiceItemInput, ...]
    invoice_date: str | None
    due_date: str | None
    po_number: str | None


class MockInvoicing:
    """Hands invoices to a test's function."""

    def __init__(self, create: Callable[[AskedInvoice], CreateManualInvoiceResult] | None) -> None:
        self._create = create

    def create_manual_invoice(
        self,
        client_id: str,
        items: Iterable[ManualInvoiceItemInput],
        *,
        invoice_date: str | None = None,
        due_date: str | None = None,
        po_number: str | None = None,
    ) -> CreateManualInvoiceResult:
        """What the test's function answers."""
        asked = AskedInvoice(as_text(client_id, "client_id"), tuple(items), invoice_date, due_date, po_number)
        if self._create is None:
            return CreateManualInvoiceResult(
                success=False, error="cap:invoice.manual.create is not granted to this install"
            )
        return self._create(asked)


class MockClients:
    """Clients in memory."""

    def __init__(self, held: Iterable[ClientSummary] | None) -> None:
        self._held = None if held is None else list(held)

    def list_clients(
        self,
        *,
        search: str | None = None,
        include_inactive: bool | None = None,
        page: int | None = None,
        page_size: int | None = None,
    ) -> ClientsListResult:
        """A page of clients."""
        found = [
            one
            for one in _granted("clients", self._held)
            if (include_inactive or not one.is_inactive) and _matches(one.client_name, search)
        ]
        return ClientsListResult(*_page(found, page, page_size))

    def get_client(self, client_id: str) -> ClientSummary | None:
        """One client."""
        wanted = as_text(client_id, "client_id")
        return next((one for one in _granted("clients", self._held) if one.client_id == wanted), None)


class MockServices:
    """Services in memory."""

    def __init__(self, held: Iterable[ServiceSummary] | None) -> None:
        self._held = None if held is None else list(held)

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
        found = [
            one
            for one in _granted("services", self._held)
            if item_kind in (None, one.item_kind)
            and is_active in (None, one.is_active)
            and billing_method in (None, one.billing_method)
            and _matches(one.service_name, search)
        ]
        return ServicesListResult(*_page(found, page, page_size))

    def get_service(self, service_id: str) -> ServiceSummary | None:
        """One service."""
        wanted = as_text(service_id, "service_id")
        return next((one for one in _granted("services", self._held) if one.service_id == wanted), None)


def _granted(interface: str, held: list[_Item] | None) -> list[_Item]:
    if held is None:
        raise HostError(interface, "not-allowed")
    return held


def _matches(name: str, search: str | None) -> bool:
    return (search or "").lower() in name.lower()


def _page(found: Sequence[_Item], page: int | None, page_size: int | None) -> tuple[list[_Item], int, int, int]:
    """The items of a page, how many there are in all, which page it is, and its size."""
    number, size = page or 1, page_size or PAGE_SIZE
    return list(found[(number - 1) * size : number * size]), len(found), number, size
