"""What the extension answers. A route gets the request and the host; it returns an answer, or raises an HttpError."""

from alga_extension import Host, HttpError, Request, Response, Router, entry, json_response

NAME_MAX_CHARS = 100

router = Router()


@router.get("/hello")
def hello(request: Request, host: Host) -> Response:
    """A greeting; `?name=` says for whom."""
    name = request.query.get("name", "world")
    if len(name) > NAME_MAX_CHARS:
        raise HttpError(400, f"a name has at most {NAME_MAX_CHARS} characters")
    host.logging.log_info(f"greeting {name}")
    return json_response({"message": f"Hello, {name}!", "tenant": request.context.tenant_id})


WitWorld = entry(router)  # what the platform calls; the toolchain looks for this name
