"""The console's pages: templates filled in, and the headers that say what a page may do.

Scripts and styles are named by a nonce of this answer alone (CSP level 3), nothing is loaded from elsewhere, and no
page of ours can be framed. Only the page that shows an extension may frame anything: the asset origin, nothing else.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from gateway.console import csrf
from gateway.console.assets import Assets
from gateway.identity.console import SignedIn
from gateway.identity.principal import Principal
from shared.errors import PlatformError

_ALWAYS: Final = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Pages:
    """Renders pages.

    Args:
        assets: what they load.
        asset_origin: where extensions' own files are.
    """

    def __init__(self, assets: Assets, asset_origin: str) -> None:
        self._asset_origin = asset_origin
        self._templates = Environment(
            loader=PackageLoader("gateway.console"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        self._templates.globals["asset"] = assets.url

    def show(
        self,
        template: str,
        values: Mapping[str, Any],
        *,
        signed: SignedIn | None = None,
        status: int = 200,
        frames: bool = False,
        icons: bool = False,
    ) -> Response:
        """A page.

        Args:
            template: its file's name without the ending.
            values: what the template needs.
            signed: who sees it; `None` before anyone has signed in.
            frames: whether it shows an extension's page.
            icons: whether it shows extensions' icons.
        """
        nonce = secrets.token_urlsafe(18)
        text = self._templates.get_template(f"{template}.html").render(
            {
                **values,
                "nonce": nonce,
                "user": None if signed is None else signed.principal,
                "csrf_token": "" if signed is None else csrf.token(signed.secret),
            }
        )
        policy = self._policy(nonce, frames=frames, icons=icons)
        return HTMLResponse(text, status, {**_ALWAYS, "content-security-policy": policy})

    def refuse(self, error: PlatformError, request_id: str, signed: SignedIn | None) -> Response:
        """A refusal, as a page."""
        return self.show("error", {"error": error, "request_id": request_id}, signed=signed, status=error.status)

    def _policy(self, nonce: str, *, frames: bool, icons: bool) -> str:
        return "; ".join(
            (
                "default-src 'none'",
                f"script-src 'nonce-{nonce}'",
                f"style-src 'nonce-{nonce}'",
                f"img-src 'self'{' ' + self._asset_origin if icons else ''}",
                "connect-src 'self'",
                f"frame-src {self._asset_origin if frames else chr(39) + 'none' + chr(39)}",
                "form-action 'self'",
                "base-uri 'none'",
                "frame-ancestors 'none'",
                "require-trusted-types-for 'script'",
            )
        )


def may(principal: Principal, permission: str) -> bool:
    """Whether to offer what needs `permission`; the door asks again."""
    return permission in principal.permissions
