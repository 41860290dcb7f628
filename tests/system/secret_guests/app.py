"""A guest that does with a secret what it should and everything it should not. Its twin in JavaScript is handler.js."""

from __future__ import annotations

import base64
import json
import sys
from urllib.parse import quote

from alga_extension import Host, HostError, Request, Response, Router, empty_response, entry, json_response

router = Router()
WitWorld = entry(router)


@router.get("/get/:name")
def get(request: Request, host: Host) -> Response:
    try:
        return json_response({"value": host.secrets.get(request.params["name"])})
    except HostError as error:
        return json_response({"error": error.code})


@router.get("/list")
def names(_request: Request, host: Host) -> Response:
    return json_response({"names": host.secrets.list_keys()})


@router.get("/say/:name")
def say(request: Request, host: Host) -> Response:
    value = host.secrets.get(request.params["name"])
    encoded = value.encode()
    said = (value, quote(value, safe=""), json.dumps({"key": value}), base64.b64encode(encoded).decode())
    for text in (*said, base64.b64encode(b"user:" + encoded).decode()):
        host.logging.log_info(f"said {text}")
        print(f"said {text}")
        print(f"said {text}", file=sys.stderr)
    print("x" * 8180 + value)
    return empty_response()


@router.get("/fail/:name")
def fail(request: Request, host: Host) -> Response:
    raise RuntimeError(f"it failed on {host.secrets.get(request.params['name'])}")


@router.get("/header/:name")
def header(request: Request, host: Host) -> Response:
    return Response(200, ((f"no name: {host.secrets.get(request.params['name'])}", "1"),), b"")
