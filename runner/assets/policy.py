"""The headers of UI files: what the browser may do with them, and how long it may keep them.

An extension's page is a stranger's code on a shared origin. `sandbox` without `allow-same-origin` gives each document
an origin of its own (it sees no cookie, no storage, no other extension), whether it is framed or opened on top
(threat T50). Everything else follows from that opaque origin: module scripts and fonts load only with
`access-control-allow-origin`, and `'self'` still means the asset's own host.

When an operator replaces the policy, `sandbox` and `frame-ancestors` are still ours: a policy without them would turn
every extension into a page of the shared origin that anyone may frame.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from shared.manifest_parts import Csp

Header = tuple[bytes, bytes]

ENTRY_CACHE: Final = b"no-cache"  # asked again each time, answered 304: an upgrade is seen at once
FILE_CACHE: Final = b"public, max-age=31536000, immutable"  # the digest in the URL names these bytes for ever

_SANDBOX: Final = ("allow-scripts", "allow-forms")
_NEVER_ON_A_SHARED_HOST: Final = frozenset({"allow-same-origin"})
_SOURCE: Final = re.compile(r"'self'|(?:https|wss)://(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)+(?::[0-9]{1,5})?")
_FEATURES: Final = (
    "accelerometer",
    "ambient-light-sensor",
    "attribution-reporting",
    "autoplay",
    "bluetooth",
    "browsing-topics",
    "camera",
    "clipboard-read",
    "clipboard-write",
    "compute-pressure",
    "display-capture",
    "encrypted-media",
    "fullscreen",
    "gamepad",
    "geolocation",
    "gyroscope",
    "hid",
    "identity-credentials-get",
    "idle-detection",
    "local-fonts",
    "magnetometer",
    "microphone",
    "midi",
    "otp-credentials",
    "payment",
    "picture-in-picture",
    "publickey-credentials-create",
    "publickey-credentials-get",
    "screen-wake-lock",
    "serial",
    "storage-access",
    "usb",
    "web-share",
    "window-management",
    "xr-spatial-tracking",
)

ALWAYS: Final[tuple[Header, ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"cross-origin"),
    (b"access-control-allow-origin", b"*"),
    (b"permissions-policy", ", ".join(f"{feature}=()" for feature in _FEATURES).encode()),
)
"""On every file, whatever its type."""


class UiPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator decided about UI documents.

    Attributes:
        frame_ancestors: `EXT_UI_FRAME_ANCESTORS`, a CSP source list.
        replacement: `EXT_UI_CONTENT_SECURITY_POLICY`.
        shared_host: whether all extensions share one origin; then no document ever gets that origin.
    """

    frame_ancestors: str
    replacement: str | None = None
    shared_host: bool = True

    def document_policy(self, wanted: Csp) -> str:
        """The Content-Security-Policy of one extension's documents.

        Args:
            wanted: the further sources its manifest asks for; what is not a plain source is left out.
        """
        if self.replacement is not None:
            return self._replaced(self.replacement)
        return "; ".join(
            (
                f"sandbox {' '.join(_SANDBOX)}",
                "default-src 'none'",
                "script-src 'self'",
                "style-src 'self' 'unsafe-inline'",
                " ".join(("img-src 'self' data: blob:", *_sources(wanted.img_src))),
                " ".join(("font-src 'self' data:", *_sources(wanted.font_src))),
                " ".join(("connect-src", *(_sources(wanted.connect_src) or ["'none'"]))),
                "base-uri 'none'",
                "form-action 'none'",
                f"frame-ancestors {self.frame_ancestors}",
            )
        )

    def _replaced(self, text: str) -> str:
        # A comma would begin a second policy, and of two directives of one name only the first counts: so commas end
        # directives here, and the operator's `sandbox` and `frame-ancestors` are taken out before ours go in.
        directives = [words for words in (part.split() for part in re.split(r"[;,]", text)) if words]
        asked = next((words[1:] for words in directives if words[0].lower() == "sandbox"), list(_SANDBOX))
        if self.shared_host:
            asked = [token for token in asked if token.lower() not in _NEVER_ON_A_SHARED_HOST]
        kept = [words for words in directives if words[0].lower() not in {"sandbox", "frame-ancestors"}]
        whole = [["sandbox", *asked], *kept, ["frame-ancestors", self.frame_ancestors]]
        return "; ".join(" ".join(words) for words in whole)


def _sources(wanted: Sequence[str]) -> list[str]:
    return [source for source in wanted if _SOURCE.fullmatch(source)]
