"""`alga-ext inspect`: what is in a bundle or a component, on one screen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from gateway.cli import consent
from gateway.cli.access import AS_TEXT, Output
from gateway.cli.failures import Exit
from gateway.cli.looking import Bundle, Signature, is_component, look_at_bundle, look_at_component, look_at_signature
from gateway.cli.project import bundle_or_packed
from gateway.cli.stack import find_stack
from gateway.cli.terminal import Terminal
from gateway.cli.verbs.keys import TRUST_VARIABLE
from shared.capabilities import DEFAULTS
from shared.component import PACKAGE as OURS
from shared.component import ComponentFacts
from shared.limits import KIB, MEMORY_DEFAULT_MB, MIB, TIMEOUT_DEFAULT_MS

_LABEL_CHARS: Final = 11
_STYLES: Final = {"none": "yellow", "unchecked": "yellow", "trusted": "green", "refused": "red"}


class Inspected(msgspec.Struct, frozen=True, kw_only=True):
    """What `inspect --json` prints of a bundle; of a component only `component`."""

    component: ComponentFacts | None
    component_problem: str = ""
    bundle: Bundle | None = None
    capabilities: tuple[str, ...] = ()
    signature: Signature | None = None


def inspect(
    file: Path | None = None,
    /,
    *,
    signature: Path | None = None,
    trust: str | None = None,
    output: Output = AS_TEXT,
) -> Exit:
    """Show what is in a bundle or a component: manifest, what it asks for, imports, exports, sizes, signature.

    Args:
        file: a bundle or a component (.wasm); by default what pack wrote for the project here.
        signature: the envelope; by default NAME-VERSION.signature.json beside the bundle.
        trust: a file with the keys to trust; by default SIGNING_TRUST_BUNDLE, else the local stack's if there is one.
    """
    terminal = output.terminal()
    if file is not None and is_component(file):
        facts = look_at_component(file)
        _component(file.name, facts, terminal)
        terminal.document(Inspected(component=facts))
        return Exit.OK
    path = bundle_or_packed(file)
    with terminal.working("reading the bundle"):
        bundle = look_at_bundle(path)
    signed = look_at_signature(path, bundle.digest, signature, trust or _trust_here())
    _bundle(bundle, signed, terminal)
    terminal.document(
        Inspected(
            component=bundle.component,
            component_problem=bundle.component_problem,
            bundle=bundle,
            capabilities=bundle.manifest.wanted_capabilities(),
            signature=signed,
        )
    )
    return Exit.OK


def _trust_here() -> str | None:
    stack = None if os.environ.get(TRUST_VARIABLE) else find_stack(None, os.environ, Path.cwd())
    return os.environ.get(TRUST_VARIABLE) or (stack.trust_bundle if stack else None)


# ---- for people ---------------------------------------------------------------------------------------------


def _bundle(bundle: Bundle, signed: Signature, terminal: Terminal) -> None:
    manifest, digest = bundle.manifest, bundle.digest
    terminal.say(f"{bundle.reference} {manifest.version}", "bold")
    if manifest.description:
        terminal.say(manifest.description)
    inside = ", ".join(f"{one.name} {_size(one.size_bytes)}" for one in bundle.folders)
    _row("bundle", digest.content_hash, terminal)
    _row("size", f"{_size(digest.size_bytes)}, {_size(bundle.unpacked_bytes)} unpacked: {inside}", terminal)
    by = f"{', '.join(signed.keys)}: " if signed.keys else ""
    _row("signature", f"{by}{signed.says}", terminal, _STYLES[signed.state])
    timeout_ms = manifest.limits.timeout_ms or TIMEOUT_DEFAULT_MS
    memory_mb = manifest.limits.memory_mb or MEMORY_DEFAULT_MB
    _row("runtime", f"{manifest.runtime}, one call {timeout_ms} ms and {memory_mb} MiB", terminal)
    _rows("asks for", consent.lines(manifest), terminal)
    _row("by default", ", ".join(DEFAULTS), terminal, "dim")
    _rows("endpoints", [f"{one.method} {one.path}" for one in manifest.api.endpoints], terminal)
    _rows("events", [one.topic for one in manifest.events], terminal)
    if manifest.ui is not None:
        hooks = f" ({', '.join(manifest.ui.hooks)})" if manifest.ui.hooks else ""
        _row("pages", f"{manifest.ui.entry}{hooks}", terminal)
    if bundle.component is not None:
        _component(manifest.entry, bundle.component, terminal)
    elif bundle.component_problem:
        _row("component", bundle.component_problem, terminal, "red")


def _component(name: str, facts: ComponentFacts, terminal: Terminal) -> None:
    begins = f"begins with {_size(facts.initial_memory_bytes)} of memory"
    _row("component", f"{name} {_size(facts.size_bytes)}, {begins}", terminal)
    ours = [name for name in facts.imports if name.startswith(f"{OURS}/")]
    others = [name for name in facts.imports if not name.startswith(f"{OURS}/")]
    _rows("imports", [*ours, *_folded(others)], terminal)
    _rows("exports", list(facts.exports), terminal)


def _folded(names: list[str]) -> list[str]:
    """Interfaces by package, one line for each: `wasi:io@0.2.9: error, poll, streams`."""
    packages: dict[str, list[str]] = {}
    for name in names:
        package, _, interface = name.partition("/")
        interface, _, version = interface.partition("@")
        packages.setdefault(f"{package}@{version}" if version else package, []).append(interface)
    return [f"{package}: {', '.join(sorted(found))}" for package, found in sorted(packages.items())]


def _row(label: str, text: str, terminal: Terminal, style: str = "") -> None:
    terminal.say(f"{label:<{_LABEL_CHARS}}{text}", style)


def _rows(label: str, lines: list[str], terminal: Terminal) -> None:
    for at, line in enumerate(lines):
        _row("" if at else label, line, terminal)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / MIB:.1f} MiB" if size_bytes >= MIB else f"{size_bytes / KIB:.1f} KiB"
