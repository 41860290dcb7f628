"""Services of the host application in Python: checked arguments, typed answers, and stand-ins for tests."""

from __future__ import annotations

import enum
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
from alga_extension import (
    ClientSummary,
    CreateManualInvoiceResult,
    HostError,
    ManualInvoiceItemInput,
    ServiceSummary,
    mock_host,
    provider,
)
from alga_extension.bindings_host_application import Clients, Invoicing, Services
from alga_extension.interfaces import Interface

INITECH = ClientSummary("c-1", "Initech", billing_email="bill@initech.example")
HOOLI = ClientSummary("c-2", "Hooli", is_inactive=True)
SUPPORT = ServiceSummary("s-1", "Support", "service", "hourly", None, None, 120.5, "hour", True)
ITEM = ManualInvoiceItemInput("s-1", 2, "Support", 100, is_discount=True, discount_type="percentage")


# ---- for tests of handlers ----------------------------------------------------------------------------------


def test_without_data_every_service_is_refused_as_it_is_without_the_grant() -> None:
    host = mock_host()
    for call in (
        host.clients.list_clients,
        lambda: host.clients.get_client("c-1"),
        host.services.list_services,
        lambda: host.services.get_service("s-1"),
    ):
        with pytest.raises(HostError) as refused:
            call()
        assert refused.value.code == "not-allowed"
    answer = host.invoicing.create_manual_invoice("c-1", [ITEM])
    assert (answer.success, answer.error) == (False, "cap:invoice.manual.create is not granted to this install")


def test_lists_stand_for_clients_and_services_filtered_and_paged() -> None:
    host = mock_host(clients=[INITECH, HOOLI], services=[SUPPORT])
    assert host.clients.list_clients().items == [INITECH]
    assert host.clients.list_clients(search="INI").total_count == 1
    second = host.clients.list_clients(include_inactive=True, page=2, page_size=1)
    assert (second.items, second.total_count, second.page, second.page_size) == ([HOOLI], 2, 2, 1)
    assert host.clients.get_client("c-2") == HOOLI
    assert host.clients.get_client("c-9") is None
    assert host.services.list_services(item_kind="product").items == []
    assert host.services.list_services(is_active=True, billing_method="hourly").items == [SUPPORT]
    assert host.services.get_service("s-1") == SUPPORT


def test_a_function_of_the_test_writes_invoices() -> None:
    host = mock_host(invoicing=lambda asked: CreateManualInvoiceResult(True, status=f"{len(asked.items)} items"))
    assert host.invoicing.create_manual_invoice("c-1", [ITEM, ITEM], po_number="7").status == "2 items"


# ---- towards a world ----------------------------------------------------------------------------------------


class Err(Exception):  # noqa: N818 - the generated name
    """As componentize-py raises the error case of a result."""

    def __init__(self, value: object) -> None:
        self.value = value


class Case(enum.Enum):
    NOT_ALLOWED = 0
    INVALID_INPUT = 1


class Kind(enum.Enum):
    SERVICE = 0
    PRODUCT = 1


class Method(enum.Enum):
    FIXED = 0
    HOURLY = 1


class Discount(enum.Enum):
    PERCENTAGE = 0
    FIXED = 1


def record(*values: object) -> tuple[object, ...]:
    return values


TYPES = types.SimpleNamespace(
    CreateManualInvoiceInput=record,
    ManualInvoiceItemInput=record,
    ClientsListInput=record,
    ServicesListInput=record,
    DiscountType=Discount,
    ServiceItemKind=Kind,
    ServiceBillingMethod=Method,
)


class World:
    """One generated module, which keeps what it is asked."""

    def __init__(self, **answers: Any) -> None:
        self.asked: list[Any] = []
        for name, answer in answers.items():
            setattr(self, name, self._function(answer))

    def _function(self, answer: Any) -> Any:
        def called(*arguments: Any) -> Any:
            self.asked.append(arguments)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return called


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Puts a generated module where a component has it."""

    def put(name: str, **answers: Any) -> tuple[World, Interface]:
        module = World(**answers)
        for parent in ("wit_world", "wit_world.imports"):
            monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
        monkeypatch.setitem(sys.modules, f"wit_world.imports.{name}", module)  # type: ignore[arg-type]  # as one
        return module, Interface(name, Err)

    return put


def test_an_invoice_crosses_as_the_borders_records(world: Any) -> None:
    raw = types.SimpleNamespace(**dict.fromkeys(CreateManualInvoiceResult.__slots__) | {"success": True})
    module, interface = world("invoicing", create_manual_invoice=raw)
    answer = Invoicing(interface, TYPES).create_manual_invoice("c-1", [ITEM], due_date="2026-01-31")
    assert answer == CreateManualInvoiceResult(True)
    item = ("s-1", 2.0, "Support", 100.0, True, Discount.PERCENTAGE, None, None)
    assert module.asked == [(("c-1", [item], None, "2026-01-31", None),)]


def test_clients_and_services_come_back_as_ours(world: Any) -> None:
    client = types.SimpleNamespace(**{name: getattr(INITECH, name) for name in ClientSummary.__slots__})
    page = types.SimpleNamespace(items=[client], total_count=1, page=1, page_size=25)
    module, interface = world("clients", list_clients=page, get_client=None)
    clients = Clients(interface, TYPES)
    assert clients.list_clients(search="x", page_size=2).items == [INITECH]
    assert clients.get_client("c-9") is None
    assert module.asked == [(("x", None, None, 2),), ("c-9",)]
    fields = {name: getattr(SUPPORT, name) for name in ServiceSummary.__slots__}
    raw = types.SimpleNamespace(**fields | {"item_kind": Kind.SERVICE, "billing_method": Method.HOURLY})
    module, interface = world(
        "services",
        list_services=types.SimpleNamespace(items=[raw], total_count=1, page=1, page_size=25),
        get_service=raw,
    )
    services = Services(interface, TYPES)
    assert services.list_services(item_kind="service").items == [SUPPORT]
    assert services.get_service("s-1") == SUPPORT
    assert module.asked[0] == ((None, Kind.SERVICE, None, None, None, None),)


def test_a_refusal_is_a_host_error_with_its_case(world: Any) -> None:
    _, interface = world("clients", get_client=Err(Case.NOT_ALLOWED), list_clients=Err(Case.INVALID_INPUT))
    clients = Clients(interface, TYPES)
    for call, code in ((lambda: clients.get_client("c"), "not-allowed"), (clients.list_clients, "invalid-input")):
        with pytest.raises(HostError) as refused:
            call()
        assert (refused.value.interface, refused.value.code) == ("clients", code)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda clients, _services, _invoicing: clients.get_client(7),
        lambda clients, _services, _invoicing: clients.list_clients(page=-1),
        lambda clients, _services, _invoicing: clients.list_clients(page_size=2**32),
        lambda clients, _services, _invoicing: clients.list_clients(page=True),
        lambda clients, _services, _invoicing: clients.list_clients(include_inactive="yes"),
        lambda _clients, services, _invoicing: services.list_services(item_kind="thing"),
        lambda _clients, services, _invoicing: services.list_services(billing_method=1),
        lambda _clients, _services, invoicing: invoicing.create_manual_invoice(None, []),
        lambda _clients, _services, invoicing: invoicing.create_manual_invoice(
            "c",
            [ManualInvoiceItemInput("s", "two", "d", 1)],  # type: ignore[arg-type]  # that is the point
        ),
    ],
)
def test_a_wrong_type_does_not_cross(world: Any, wrong: Any) -> None:
    module, interface = world(
        "clients", get_client=None, list_clients=None, list_services=None, create_manual_invoice=None
    )
    with pytest.raises(TypeError):
        wrong(Clients(interface, TYPES), Services(interface, TYPES), Invoicing(interface, TYPES))
    assert module.asked == []


# ---- declared by the operator -------------------------------------------------------------------------------


def test_any_other_service_is_called_by_the_names_of_its_functions(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world("crm", find_contacts=["Kim"], forget=Err(Case.NOT_ALLOWED))
    stand_in = types.ModuleType("componentize_py_types")
    stand_in.Err = Err  # type: ignore[attr-defined]  # as the generated module has it
    monkeypatch.setitem(sys.modules, "componentize_py_types", stand_in)
    crm = provider("crm")
    assert crm.find_contacts("ki", 3) == ["Kim"]
    with pytest.raises(HostError) as refused:
        crm.forget("k")
    assert (refused.value.interface, refused.value.code) == ("crm", "not-allowed")


def test_outside_of_a_component_it_says_so() -> None:
    with pytest.raises(RuntimeError, match="alga:extension/crm exists inside of a component"):
        provider("crm").find_contacts("ki")
