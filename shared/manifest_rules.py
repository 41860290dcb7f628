"""The rules of manifest v2 that a JSON Schema cannot say: names that must be known, unique, or fit each other.

Each rule is a generator of violations with a stable code; `check_rules` runs them all, so that an author sees
everything at once. `check_members` compares a manifest with the files that stand beside it in the bundle.

| code | where | says |
|---|---|---|
| `capability_unknown`, `capability_duplicate` | `capabilities` | known names, each once |
| `egress_entry`, `egress_duplicate` | `permissions.egress`, `secrets[].hosts` | the egress grammar, each host once |
| `secret_duplicate` | `permissions.secrets` | one ask for each name |
| `endpoint_path`, `endpoint_duplicate` | `api.endpoints` | no `.` or `..`; (method, path) unique, whatever its params are called |
| `event_duplicate` | `events` | one handler for each topic |
| `bundle_path` | every path | a name the archive can have, in its folder |
| `config_…` | `config` | `shared.manifest_config` |
| `file_missing` | every path | the file is in the bundle (`check_members` only) |
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from shared.bundle_names import MemberNameError, check_name
from shared.capabilities import normalise
from shared.egress import EntryError, parse_entry
from shared.manifest_config import config_violations
from shared.manifest_schema import Violation, json_path

if TYPE_CHECKING:
    from shared.manifest import Manifest  # which imports this module

Path = tuple[str | int, ...]


def check_rules(manifest: Manifest, known: frozenset[str] | None) -> list[Violation]:
    """Every broken rule of a manifest whose members have the right types.

    Args:
        manifest: to be checked.
        known: the capabilities that may be asked for, in their `cap:` form; `None`: that was judged before.
    """
    found = [
        *_capabilities(manifest, known),
        *_egress(manifest),
        *_secrets(manifest),
        *_paths(manifest),
        *_endpoints(manifest),
        *_events(manifest),
    ]
    if manifest.config is not None:
        found += config_violations(manifest.config)
    return found


def check_members(manifest: Manifest, names: Collection[str]) -> list[Violation]:
    """What the manifest points at and the bundle does not have.

    A bundle without its component is UI-only: it must have pages, and neither endpoints nor events.

    Args:
        manifest: a valid one.
        names: the members of its bundle.
    """
    wanted: dict[str, str | None] = {"icon": manifest.icon, "sbom": manifest.sbom}
    if manifest.ui is not None:
        wanted["ui.entry"] = manifest.ui.entry
    if manifest.ui is None or manifest.api.endpoints or manifest.events:
        wanted["entry"] = manifest.entry
    found = [
        Violation(f"$.{where}", "file_missing", f"must be in the bundle; {name} is not")
        for where, name in wanted.items()
        if name is not None and name not in names
    ]
    for target, name in manifest.precompiled.items():
        if name not in names:
            path = json_path(["precompiled", target])
            found.append(Violation(path, "file_missing", f"must be in the bundle; {name} is not"))
    for index, glob in enumerate(manifest.assets):
        if not any(fnmatch.fnmatchcase(name, glob) for name in names):
            path = json_path(["assets", index])
            found.append(Violation(path, "file_missing", f"must match a file in the bundle; {glob} matches none"))
    return found


def _capabilities(manifest: Manifest, known: frozenset[str] | None) -> Iterator[Violation]:
    seen: set[str] = set()
    for index, written in enumerate(manifest.capabilities):
        name, path = normalise(written), json_path(["capabilities", index])
        if known is not None and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
            yield Violation(path, "capability_unknown", f"must be a known capability; {hint}")
        elif name in seen:
            yield Violation(path, "capability_duplicate", f"must stand once; {name} was listed before")
        seen.add(name)


def _egress(manifest: Manifest) -> Iterator[Violation]:
    asks = (
        (("permissions", "egress", index) if isinstance(ask, str) else ("permissions", "egress", index, "host"), ask)
        for index, ask in enumerate(manifest.permissions.egress)
    )
    yield from _entries([(path, ask if isinstance(ask, str) else ask.host) for path, ask in asks])
    for index, secret in enumerate(manifest.permissions.secrets):
        base: Path = ("permissions", "secrets", index, "hosts")
        yield from _entries([((*base, at), host) for at, host in enumerate(secret.hosts)])


def _entries(hosts: list[tuple[Path, str]]) -> Iterator[Violation]:
    seen: set[str] = set()
    for path, host in hosts:
        try:
            entry = str(parse_entry(host))
        except EntryError as error:
            yield Violation(json_path(path), "egress_entry", str(error))
            continue
        if entry in seen:
            yield Violation(json_path(path), "egress_duplicate", f"must stand once; {entry} was listed before")
        seen.add(entry)


def _secrets(manifest: Manifest) -> Iterator[Violation]:
    names = [secret.name for secret in manifest.permissions.secrets]
    for index, name in enumerate(names):
        if name in names[:index]:
            path = json_path(["permissions", "secrets", index, "name"])
            yield Violation(path, "secret_duplicate", f"must be asked for once; {name} was listed before")


def _endpoints(manifest: Manifest) -> Iterator[Violation]:
    seen: set[tuple[str, str]] = set()
    for index, endpoint in enumerate(manifest.api.endpoints):
        segments = endpoint.path.split("/")
        path = json_path(["api", "endpoints", index, "path"])
        if "." in segments or ".." in segments:
            yield Violation(path, "endpoint_path", "must be a path without . and .. segments")
        route = "/".join(":" if segment.startswith(":") else segment for segment in segments)
        if (endpoint.method, route) in seen:
            message = f"must be unique; {endpoint.method} {endpoint.path} matches what an earlier endpoint matches"
            yield Violation(path, "endpoint_duplicate", message)
        seen.add((endpoint.method, route))


def _events(manifest: Manifest) -> Iterator[Violation]:
    topics = [event.topic for event in manifest.events]
    for index, topic in enumerate(topics):
        if topic in topics[:index]:
            path = json_path(["events", index, "topic"])
            yield Violation(path, "event_duplicate", f"must stand once; {topic} was listed before")


def _paths(manifest: Manifest) -> Iterator[Violation]:
    yield from _path(("entry",), manifest.entry, "", ".wasm")
    if manifest.icon is not None:
        yield from _path(("icon",), manifest.icon, "ui/", "")  # the asset origin serves ui/ only
    if manifest.sbom is not None:
        yield from _path(("sbom",), manifest.sbom, "", ".json")
    if manifest.ui is not None:
        yield from _path(("ui", "entry"), manifest.ui.entry, "ui/", ".html")
    for target, name in manifest.precompiled.items():
        yield from _path(("precompiled", target), name, "precompiled/", "")
    for index, glob in enumerate(manifest.assets):
        yield from _path(("assets", index), glob, "ui/", "")


def _path(where: Path, name: str, folder: str, suffix: str) -> Iterator[Violation]:
    try:
        check_name(name)
    except MemberNameError as error:
        yield Violation(json_path(where), "bundle_path", f"must be a path in the bundle: {error}")
        return
    if not (name.startswith(folder) and name.endswith(suffix)):
        place = f"a file below {folder}" if folder else "a file"
        ending = f" that ends in {suffix}" if suffix else ""
        yield Violation(json_path(where), "bundle_path", f"must be {place}{ending}")
