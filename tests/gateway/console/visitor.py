"""A browser in front of the console, as far as HTTP goes: keeps cookies, sends forms, knows no JavaScript."""

from __future__ import annotations

import re
from http.cookies import SimpleCookie
from urllib.parse import urlencode

from starlette.types import ASGIApp

from tests.gateway.asgi import Answer, Client

HOST = "127.0.0.1:8000"


class Browser:
    """One browser; `host` is what stands in its address bar."""

    def __init__(self, app: ASGIApp, host: str = HOST) -> None:
        self._client = Client(app)
        self.host = host
        self.cookies: dict[str, str] = {}
        self.set: dict[str, str] = {}  # the last answer's Set-Cookie lines, by name

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.send("GET", path, **headers)

    async def post(self, path: str, fields: dict[str, str], **headers: str) -> Answer:
        sent = {"content_type": "application/x-www-form-urlencoded", "sec_fetch_site": "same-origin", **headers}
        return await self.send("POST", path, body=urlencode(fields).encode(), **sent)

    async def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        sent = {"host": self.host, **headers}
        if self.cookies and "cookie" not in sent:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = await self._client.request(method, path, headers=sent, body=body)
        self._take(answer)
        return answer

    async def token(self, path: str = "/msp/signin") -> str:
        """The CSRF token of a page's first form."""
        return form_token(await self.get(path))

    async def sign_in(self, credential: str, wanted: str = "", **changes: str) -> Answer:
        """Open the form and send it."""
        fields = {"credential": credential, "next": wanted, "csrf_token": await self.token()} | changes
        return await self.post("/msp/signin", fields)

    def _take(self, answer: Answer) -> None:
        self.set = {}
        for name, value in answer.headers:
            if name == b"set-cookie":
                for key, morsel in SimpleCookie(value.decode()).items():
                    self.set[key] = value.decode()
                    if morsel["max-age"] == "0":
                        self.cookies.pop(key, None)
                    else:
                        self.cookies[key] = morsel.value


def form_token(answer: Answer) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', answer.body.decode())
    assert found, answer.body
    return found[1]
