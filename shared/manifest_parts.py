"""The parts of manifest v2: one frozen struct for each object, one annotated type for each text with a grammar.

The JSON Schema that authors and editors read is generated from these (`shared.manifest.manifest_schema`), and a
description is what a violation says would be valid; so a description completes the sentence "must be …".

Patterns are matched in Python and in JavaScript: they use what both read alike, and `$` is safe because no string
of a manifest may end in a newline (`shared.manifest_rules`).
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from shared.limits import (
    BUNDLE_NAME_MAX_BYTES,
    MANIFEST_LIST_MAX_COUNT,
    MANIFEST_TEXT_MAX_CHARS,
    MEMORY_MAX_MB,
    TIMEOUT_MAX_MS,
)


class Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """Base of every part: immutable, camelCase in JSON, unknown names refused."""


# ---- texts --------------------------------------------------------------------------------------------------

_NUMBER: Final = r"(0|[1-9][0-9]*)"
_PRERELEASE: Final = r"(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_HOST: Final = r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)+(:[0-9]{1,5})?"

Text: TypeAlias = Annotated[
    str, Meta(max_length=MANIFEST_TEXT_MAX_CHARS, description=f"text of at most {MANIFEST_TEXT_MAX_CHARS} characters")
]
Label: TypeAlias = Annotated[str, Meta(min_length=1, max_length=100, description="a label of 1 to 100 characters")]
Name: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9-]+(\.[a-z0-9-]+)+$",
        max_length=200,
        description="a reverse-domain name of at least two labels of a-z 0-9 -, at most 200 characters, "
        "such as com.acme.tickets",
    ),
]
Publisher: TypeAlias = Annotated[
    str, Meta(pattern=r"^[a-z0-9-]{1,100}$", description="a publisher slug: 1 to 100 characters of a-z 0-9 -")
]
SemVer: TypeAlias = Annotated[
    str,
    Meta(
        pattern=rf"^{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_PRERELEASE}(\.{_PRERELEASE})*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?$",
        max_length=128,
        description="a version of Semantic Versioning 2.0, such as 1.4.0 or 2.0.0-rc.1",
    ),
]
HttpsUrl: TypeAlias = Annotated[
    str,
    Meta(pattern=r"^https://[^\s/?#@]+([/?#]\S*)?$", max_length=2048, description="an https:// URL without user"),
]
CapabilityName: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^(cap:)?[a-z0-9-]+(\.[a-z0-9-]+)+$",
        max_length=100,
        description="the name of a capability, such as cap:http.fetch or http.fetch",
    ),
]
BundlePath: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=BUNDLE_NAME_MAX_BYTES,
        description="a path in the bundle: relative, / between the parts, no . or ..",
    ),
]
EgressText: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=512,
        description="an egress entry: [http://|https://]host[:port], the host exact, *.name or a public address",
    ),
]
SecretName: TypeAlias = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9_.-]{1,128}$", description="a secret's name: 1 to 128 characters of A-Z a-z 0-9 _ . -"),
]
RoutePath: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^(/|(/(:[A-Za-z_][A-Za-z0-9_]*|[A-Za-z0-9._~!$&'()+,;=@-][A-Za-z0-9._~!$&'()+,;=@:-]*))+)$",
        max_length=1024,
        description="a path that starts with /, without an empty segment, query or %; "
        ":name stands for exactly one segment",
    ),
]
HandlerPath: TypeAlias = Annotated[
    str, Meta(pattern=r"^/[^\s?#%\\]*$", max_length=1024, description="a path that starts with /, such as /events")
]
Topic: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$",
        max_length=200,
        description="an event type: words of A-Z a-z 0-9 _ - separated by dots, such as com.acme.tickets.created",
    ),
]
HookName: TypeAlias = Annotated[
    str, Meta(pattern=r"^[a-z][A-Za-z0-9]{0,63}$", description="a hook's name in camelCase, such as appMenu")
]
ConfigKey: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,127}$",
        description="a setting's name: a letter or _, then letters, digits, _ . -, at most 128 characters",
    ),
]
TargetName: TypeAlias = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,100}$", description="a target's name, such as x86_64-linux-gnu")
]
ImageSource: TypeAlias = Annotated[
    str,
    Meta(
        pattern=rf"^https://{_HOST}$", max_length=300, description="a source https://host[:port], host exact or *.name"
    ),
]
ConnectSource: TypeAlias = Annotated[
    str,
    Meta(
        pattern=rf"^('self'|(https|wss)://{_HOST})$",
        max_length=300,
        description="'self' or a source https://host[:port] or wss://host[:port], host exact or *.name",
    ),
]
TimeoutMs: TypeAlias = Annotated[
    int, Meta(ge=1, le=TIMEOUT_MAX_MS, description=f"a whole number of milliseconds from 1 to {TIMEOUT_MAX_MS}")
]
MemoryMb: TypeAlias = Annotated[
    int, Meta(ge=1, le=MEMORY_MAX_MB, description=f"a whole number of MiB from 1 to {MEMORY_MAX_MB}")
]
Method: TypeAlias = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

_LIST: Final = Meta(
    max_length=MANIFEST_LIST_MAX_COUNT, description=f"a list of at most {MANIFEST_LIST_MAX_COUNT} items"
)

# ---- permissions --------------------------------------------------------------------------------------------


class EgressAsk(Part, frozen=True, kw_only=True):
    """A host the extension wants to reach, and why; the administrator reads the reason."""

    host: EgressText
    reason: Text = ""


class SecretAsk(Part, frozen=True, kw_only=True):
    """A secret the install is asked for. `hosts` binds it for injection into requests to these hosts only."""

    name: SecretName
    description: Text = ""
    required: bool = False
    hosts: Annotated[tuple[EgressText, ...], _LIST] = ()


class Permissions(Part, frozen=True, kw_only=True):
    """What the extension asks for besides capabilities."""

    egress: Annotated[tuple[EgressText | EgressAsk, ...], _LIST] = ()
    secrets: Annotated[tuple[SecretAsk, ...], _LIST] = ()


# ---- config -------------------------------------------------------------------------------------------------

Scalar: TypeAlias = str | int | float | bool


class ConfigProperty(Part, frozen=True, kw_only=True):
    """One setting: a JSON Schema (draft 2020-12) for a scalar. Other keywords are refused, not ignored."""

    type: Literal["string", "integer", "number", "boolean"]
    title: Text = ""
    description: Text = ""
    default: Scalar | None = None
    enum: Annotated[tuple[Scalar, ...], Meta(min_length=1, max_length=MANIFEST_LIST_MAX_COUNT)] | None = None
    examples: Annotated[tuple[Scalar, ...], _LIST] = ()
    minimum: int | float | None = None
    maximum: int | float | None = None
    exclusive_minimum: int | float | None = None
    exclusive_maximum: int | float | None = None
    multiple_of: Annotated[int, Meta(gt=0)] | Annotated[float, Meta(gt=0)] | None = None
    min_length: Annotated[int, Meta(ge=0)] | None = None
    max_length: Annotated[int, Meta(ge=0)] | None = None
    pattern: Annotated[str, Meta(max_length=200)] | None = None
    format: Literal["email", "uri", "hostname", "date", "date-time", "uuid", "ipv4", "ipv6", "textarea"] | None = None
    write_only: bool = False
    deprecated: bool = False


class ConfigSchema(Part, frozen=True, kw_only=True):
    """The install's settings: a JSON Schema (draft 2020-12) of an object with scalar properties."""

    schema: Literal["https://json-schema.org/draft/2020-12/schema"] | None = msgspec.field(default=None, name="$schema")
    type: Literal["object"]
    title: Text = ""
    description: Text = ""
    properties: Annotated[dict[ConfigKey, ConfigProperty], Meta(max_length=MANIFEST_LIST_MAX_COUNT)] = {}
    required: Annotated[tuple[ConfigKey, ...], _LIST] = ()
    additional_properties: bool = True


# ---- limits, pages, routes, events --------------------------------------------------------------------------


class LimitsAsk(Part, frozen=True, kw_only=True):
    """What a call may use at most. Can only ask: the platform's ceilings and settings win when they are lower."""

    timeout_ms: TimeoutMs | None = None
    memory_mb: MemoryMb | None = None


class Hook(Part, frozen=True, kw_only=True):
    """A place in the host application where the extension appears."""

    label: Label


class Csp(Part, frozen=True, kw_only=True):
    """Further sources of the extension's pages; everything else stays with the platform's policy."""

    connect_src: Annotated[tuple[ConnectSource, ...], _LIST] = ()
    img_src: Annotated[tuple[ImageSource, ...], _LIST] = ()
    font_src: Annotated[tuple[ImageSource, ...], _LIST] = ()


class Ui(Part, frozen=True, kw_only=True):
    """The extension's pages: files under `ui/`, shown in an iframe."""

    type: Literal["iframe"]
    entry: BundlePath
    hooks: Annotated[dict[HookName, Hook], Meta(max_length=32)] = {}
    csp: Csp = Csp()


class Endpoint(Part, frozen=True, kw_only=True):
    """A route the extension answers; `:param` segments match exactly one segment."""

    method: Method
    path: RoutePath
    handler: Text = ""
    description: Text = ""
    schedulable: bool = False
    timeout_ms: TimeoutMs | None = None


class Api(Part, frozen=True, kw_only=True):
    """The extension's routes."""

    endpoints: Annotated[tuple[Endpoint, ...], _LIST] = ()


class EventInterest(Part, frozen=True, kw_only=True):
    """A topic this extension receives (CloudEvents `type`), posted to `handler`."""

    topic: Topic
    handler: HandlerPath = "/events"
