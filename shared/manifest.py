"""Manifest v2 (`manifest.json` at the root of a bundle): what an extension is and what it asks for.

One validator for the CLI, for publish and for the runner. `parse_manifest` reports everything that is wrong at once:
each violation has its JSON path, a code, and a message that says what would be valid. It reads strict JSON, checks
the JSON Schema generated from these structs, and applies the named rules of `shared.manifest_rules`; only a manifest
without any violation becomes a `Manifest`.

A manifest can only ask. Nothing in it raises a limit, grants a capability or opens a host by itself.
"""

from __future__ import annotations

import functools
import itertools
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from shared.capabilities import DEFAULTS, normalise
from shared.errors import ManifestInvalid
from shared.limits import (
    MANIFEST_LIST_MAX_COUNT,
    MANIFEST_MAX_BYTES,
    MANIFEST_MAX_DEPTH,
    MANIFEST_VIOLATIONS_MAX_COUNT,
    TIMEOUT_MAX_MS,
)
from shared.manifest_parts import (
    Api,
    BundlePath,
    CapabilityName,
    ConfigSchema,
    EgressAsk,
    Endpoint,
    EventInterest,
    HttpsUrl,
    LimitsAsk,
    Name,
    Part,
    Permissions,
    Publisher,
    SemVer,
    TargetName,
    Text,
    Ui,
)
from shared.manifest_rules import check_rules
from shared.manifest_schema import Violation, object_schema, schema_violations, text_violations
from shared.provider_files import shipped
from shared.strict_json import JsonValue, StrictJsonError, is_object, loads

SCHEMA_PATH: Final = "/api/registry/schemas/manifest-v2.json"
"""Where the gateway serves `manifest_schema()`."""


class Manifest(Part, frozen=True, kw_only=True):
    """Manifest v2.

    Attributes:
        schema: ignored; lets an editor find the JSON Schema.
        entry: the component's path; a bundle without it is UI-only.
        precompiled: target → path; listed in the bundle index, never loaded, since native code is only ever produced
            by the platform itself.
        assets: globs of static files under `ui/`.
        sbom: path of an SPDX or CycloneDX document.
    """

    schema: Text | None = msgspec.field(default=None, name="$schema")
    manifest_version: Literal[2] = 2
    name: Name
    publisher: Publisher
    version: SemVer
    runtime: Literal["wasm-js@1", "wasm-component@1"]
    description: Text = ""
    homepage: HttpsUrl | None = None
    license: Text | None = None
    icon: BundlePath | None = None
    capabilities: Annotated[tuple[CapabilityName, ...], Meta(max_length=MANIFEST_LIST_MAX_COUNT)] = ()
    permissions: Permissions = Permissions()
    config: ConfigSchema | None = None
    limits: LimitsAsk = LimitsAsk()
    ui: Ui | None = None
    api: Api = Api()
    events: Annotated[tuple[EventInterest, ...], Meta(max_length=MANIFEST_LIST_MAX_COUNT)] = ()
    entry: BundlePath = "dist/main.wasm"
    precompiled: Annotated[dict[TargetName, BundlePath], Meta(max_length=32)] = {}
    assets: Annotated[tuple[BundlePath, ...], Meta(max_length=MANIFEST_LIST_MAX_COUNT)] = ()
    sbom: BundlePath | None = None

    def wanted_capabilities(self) -> tuple[str, ...]:
        """Declared capabilities and the defaults, each once, sorted: what consent shows."""
        return tuple(sorted({*self.capabilities, *DEFAULTS}))

    def egress_entries(self) -> tuple[EgressAsk, ...]:
        """The hosts asked for, in order, each with its reason (empty when none was given)."""
        return tuple(EgressAsk(host=ask) if isinstance(ask, str) else ask for ask in self.permissions.egress)

    def config_schema(self) -> dict[str, JsonValue] | None:
        """The JSON Schema of the install's settings as plain JSON, for a validator or a form; `None` without settings."""
        if self.config is None:
            return None
        return msgspec.json.decode(msgspec.json.encode(self.config), type=dict[str, Any])

    def endpoint_for(self, method: str, path: str) -> Endpoint | None:
        """The declared endpoint that a request means, or `None`.

        A `:param` segment matches exactly one non-empty segment; of several matches the one with a literal segment
        furthest left wins. HEAD means GET where it is not declared itself.

        Args:
            method: upper case.
            path: starts with `/`, without query, decoded once.
        """
        found = self._match(method, path)
        return self._match("GET", path) if found is None and method == "HEAD" else found

    def effective_timeout_ms(self, method: str, path: str) -> int:
        """The least of the endpoint's timeout, `limits.timeoutMs` and the platform's ceiling, in milliseconds.

        The gateway's own setting lowers it further.
        """
        endpoint = self.endpoint_for(method, path)
        asked = (endpoint.timeout_ms if endpoint else None, self.limits.timeout_ms)
        return min([TIMEOUT_MAX_MS, *(ms for ms in asked if ms is not None)])

    def _match(self, method: str, path: str) -> Endpoint | None:
        segments = path.split("/")
        matching = (
            endpoint
            for endpoint in self.api.endpoints
            if endpoint.method == method and _fits(endpoint.path.split("/"), segments)
        )
        return min(matching, key=lambda endpoint: [part[:1] == ":" for part in endpoint.path.split("/")], default=None)


def parse_manifest(data: bytes, *, known: frozenset[str] | None = None) -> Manifest:
    """The manifest that `data` writes, capabilities in their `cap:` form.

    Args:
        data: the file's bytes.
        known: capabilities that may be asked for, with prefix: those of `Providers`; by default the platform's and the
            reference providers'.

    Raises:
        ManifestInvalid: `extra["violations"]` lists `{path, code, message}` for everything that is wrong, at most
            `MANIFEST_VIOLATIONS_MAX_COUNT`; `extra["path"]` is the first one's.
    """
    return _parse(data, shipped().capabilities if known is None else known)


def stored_manifest(data: bytes) -> Manifest:
    """The manifest of a published version: which names of capabilities are known was judged then, and may be other now.

    Raises:
        ManifestInvalid: as `parse_manifest`, for everything else.
    """
    return _parse(data, None)


def _parse(data: bytes, known: frozenset[str] | None) -> Manifest:
    try:
        document = loads(data, max_bytes=MANIFEST_MAX_BYTES, max_depth=MANIFEST_MAX_DEPTH)
    except StrictJsonError as error:
        raise refusal([Violation("$", error.code, message) for message in error.messages]) from error
    found = itertools.chain(schema_violations(manifest_schema(), document), text_violations(document))
    violations = list(itertools.islice(found, MANIFEST_VIOLATIONS_MAX_COUNT))
    if len(violations) == MANIFEST_VIOLATIONS_MAX_COUNT:
        raise refusal(violations)
    sound = _sound_part(document, violations)
    violations += check_rules(sound, known)
    if violations:
        raise refusal(violations)
    return msgspec.structs.replace(sound, capabilities=tuple(map(normalise, sound.capabilities)))


@functools.cache
def manifest_schema() -> dict[str, JsonValue]:
    """The JSON Schema (draft 2020-12) of manifest v2, generated from the structs; do not change the answer."""
    return object_schema(Manifest, "Extension manifest, version 2")


def refusal(violations: list[Violation]) -> ManifestInvalid:
    """The error that carries `violations`, which must not be empty; the detail is the first one and the count."""
    some = [msgspec.structs.asdict(violation) for violation in violations[:MANIFEST_VIOLATIONS_MAX_COUNT]]
    first, tail = violations[0], f" (and {len(some) - 1} more)" if len(some) > 1 else ""
    return ManifestInvalid(f"{first.path}: {first.message}{tail}", path=first.path, violations=some)


_REQUIRED: Final[dict[str, JsonValue]] = {
    "name": "unnamed.extension",
    "publisher": "unnamed",
    "version": "0.0.0",
    "runtime": "wasm-component@1",
}


def _sound_part(document: JsonValue, violations: list[Violation]) -> Manifest:
    # The rules run on typed values. So that one wrong member does not hide what they find in the others, members
    # with a violation are left out and required ones stand in for themselves; the result is only checked, never used.
    members = document if is_object(document) else {}
    names = {field.encode_name for field in msgspec.structs.fields(Manifest)}
    wrong = {violation.member for violation in violations}
    sound = {name: value for name, value in members.items() if name in names - wrong}
    return msgspec.convert(_REQUIRED | sound, Manifest)


def _fits(pattern: list[str], segments: list[str]) -> bool:
    return len(pattern) == len(segments) and all(
        bool(segment) if part.startswith(":") else part == segment
        for part, segment in zip(pattern, segments, strict=True)
    )
