"""What a guest written in Python imports: answers, routes, typed errors, and the host it may call.

    from alga_extension import Host, Request, Response, Router, entry, json_response

    router = Router()

    @router.get("/items/:id")
    def show(request: Request, host: Host) -> Response:
        return json_response({"id": request.params["id"]})

    WitWorld = entry(router)

Nothing here needs the world: everything but the host of `entry` runs in plain CPython, where `mock_host` stands in.
"""

from alga_extension.entry import answer as answer
from alga_extension.entry import entry as entry
from alga_extension.errors import HostError as HostError
from alga_extension.errors import HttpError as HttpError
from alga_extension.events import Event as Event
from alga_extension.events import mock_event as mock_event
from alga_extension.events import read_event as read_event
from alga_extension.host import Host as Host
from alga_extension.host_application import ClientsListResult as ClientsListResult
from alga_extension.host_application import ClientSummary as ClientSummary
from alga_extension.host_application import CreateManualInvoiceResult as CreateManualInvoiceResult
from alga_extension.host_application import ManualInvoiceItemInput as ManualInvoiceItemInput
from alga_extension.host_application import ServicesListResult as ServicesListResult
from alga_extension.host_application import ServiceSummary as ServiceSummary
from alga_extension.interfaces import Provider as Provider
from alga_extension.interfaces import provider as provider
from alga_extension.mock import MockHost as MockHost
from alga_extension.mock import mock_host as mock_host
from alga_extension.records import ContextData as ContextData
from alga_extension.records import CreateScheduleInput as CreateScheduleInput
from alga_extension.records import CreateScheduleResult as CreateScheduleResult
from alga_extension.records import DeleteScheduleResult as DeleteScheduleResult
from alga_extension.records import EndpointInfo as EndpointInfo
from alga_extension.records import HttpResponse as HttpResponse
from alga_extension.records import ScheduleInfo as ScheduleInfo
from alga_extension.records import StorageEntry as StorageEntry
from alga_extension.records import UpdateScheduleInput as UpdateScheduleInput
from alga_extension.records import UpdateScheduleResult as UpdateScheduleResult
from alga_extension.records import UserData as UserData
from alga_extension.records import UserDataV2 as UserDataV2
from alga_extension.request import Request as Request
from alga_extension.response import Response as Response
from alga_extension.response import bytes_response as bytes_response
from alga_extension.response import empty_response as empty_response
from alga_extension.response import json_response as json_response
from alga_extension.response import text_response as text_response
from alga_extension.routing import Handler as Handler
from alga_extension.routing import Router as Router
