"""Inspection of a component: is it one, does it fit the platform's world, does its manifest say what it needs.

The program `wasm-tools` parses the bytes; nothing here executes or compiles them. Three runs, each bounded:

    validate        with the proposals off that the engine has off, so that what passes here compiles there
    component wit   the imports and exports with their types, compared with `shared/wit`
    print           without function bodies, for the memory that exists from the start

Used by the compiler role and by the CLI, before anything else is done with a component.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from shared import wasi
from shared.capabilities import DEFAULTS
from shared.component_interface import ComponentInterface, InterfaceFormatError
from shared.component_memory import UnsizedComponentError, initial_memory_bytes
from shared.deadline import Deadline
from shared.errors import ComponentInvalid
from shared.limits import (
    COMPONENT_MAX_BYTES,
    MEMORY_DEFAULT_MB,
    MEMORY_MAX_MB,
    MIB,
    WASM_SKELETON_MAX_BYTES,
    WIT_JSON_MAX_BYTES,
)
from shared.manifest import Manifest, refusal
from shared.manifest_schema import Violation
from shared.provider_files import shipped
from shared.wasm_tools import ToolRefusedError, run_wasm_tools
from shared.wit_types import World

PACKAGE: Final = "alga:extension"
HANDLER: Final = "handler"
TYPES: Final = f"{PACKAGE}/types"  # records and enums only: needs no capability

FEATURES_OFF: Final = (
    "threads",
    "shared-everything-threads",
    "tail-call",
    "memory64",
    "gc",
    "exceptions",
    "legacy-exceptions",
    "stack-switching",
    "function-references",
    "relaxed-simd",
    "custom-page-sizes",
    "wide-arithmetic",
    "cm-async",
    "cm-async-stackful",
    "cm-more-async-builtins",
)
"""Proposals the engine has switched off, as `wasm-tools validate` calls them."""

_COMPONENT: Final = bytes.fromhex("0061736d0d000100")  # magic, version 13, layer 1 (Component Model, binary format)
_CORE_MODULE: Final = bytes.fromhex("0061736d01000000")


class ComponentFacts(msgspec.Struct, frozen=True):
    """What a component is.

    Attributes:
        imports: full names of imported interfaces, in the component's order; types-only ones included.
        exports: names of its exports.
        initial_memory_bytes: linear memory that exists once it is instantiated.
        size_bytes: of the file.
    """

    imports: tuple[str, ...]
    exports: tuple[str, ...]
    initial_memory_bytes: int
    size_bytes: int


def inspect_component(path: Path, timeout_s: float, world: World | None = None) -> ComponentFacts:
    """The facts about the component in a file that fits our world.

    Args:
        path: the file.
        timeout_s: seconds for all of it.
        world: the world to fit; by default the one in `shared/wit` with the reference providers.

    Raises:
        ComponentInvalid: a core module, text, broken, or larger than `COMPONENT_MAX_BYTES`; a proposal that is off
            (async among them); no `handler`, or one with another signature; a function of `alga:extension` or WASI
            that does not exist, or one of ours with other types; not inspected in time.
        Internal: `wasm-tools` is not installed.
        OSError: the file cannot be read.
    """
    deadline = Deadline.after_ms(timeout_s * 1000)
    size_bytes = _check_bytes(path)
    features = ",".join(f"-{name}" for name in FEATURES_OFF)
    try:
        run_wasm_tools(("validate", f"--features={features}"), path, deadline, WIT_JSON_MAX_BYTES)
        described = run_wasm_tools(("component", "wit", "--json"), path, deadline, WIT_JSON_MAX_BYTES)
        interface = ComponentInterface(described)
        _check_world(interface, world or shipped().world)
        skeleton = run_wasm_tools(("print", "--skeleton"), path, deadline, WASM_SKELETON_MAX_BYTES)
        memory_bytes = initial_memory_bytes(skeleton.decode())
    except (ToolRefusedError, InterfaceFormatError, UnsizedComponentError) as error:
        raise ComponentInvalid(f"the component is not acceptable: {error}{_hint(str(error))}") from error
    return ComponentFacts(interface.imports, interface.exports, memory_bytes, size_bytes)


def check_against_manifest(
    facts: ComponentFacts,
    manifest: Manifest,
    *,
    allow_unused_imports: bool,
    interfaces: Mapping[str, str] | None = None,
) -> list[str]:
    """Whether the manifest says what the component needs.

    Args:
        facts: of the component.
        manifest: of its bundle.
        allow_unused_imports: an import without its capability becomes a warning; the call itself stays denied.
        interfaces: interface of `alga:extension` → capability; by default ours and the reference providers'.

    Returns:
        Warnings, one sentence each.

    Raises:
        ComponentInvalid: an import that the platform does not link, or more memory than any call may have.
        ManifestInvalid: an imported interface whose capability is not declared, or too little memory asked for.
    """
    interfaces = shipped().interfaces if interfaces is None else interfaces
    needed = {name: interfaces[name] for name in _imported_interfaces(facts, interfaces)}
    wanted = manifest.wanted_capabilities()
    violations = [_undeclared(name, capability) for name, capability in needed.items() if capability not in wanted]
    warnings: list[str] = []
    if allow_unused_imports:
        warnings = [violation.message for violation in violations]
        violations = []
    violations += _memory(facts, manifest)
    if violations:
        raise refusal(violations)
    unused = set(manifest.capabilities) - set(needed.values()) - set(DEFAULTS)
    return warnings + [
        f"{name} is declared, but the component imports nothing that needs it" for name in sorted(unused)
    ]


# ---- the component alone ------------------------------------------------------------------------------------


def _check_bytes(path: Path) -> int:
    with path.open("rb") as file:
        start = file.read(len(_COMPONENT))
    if start == _CORE_MODULE:
        raise ComponentInvalid("a core module, not a component; wrap it with `wasm-tools component new`")
    if start != _COMPONENT:
        raise ComponentInvalid("not a WebAssembly component; build one for the world of alga:extension")
    size_bytes = path.stat().st_size
    if size_bytes > COMPONENT_MAX_BYTES:
        raise ComponentInvalid(f"the component has {size_bytes} bytes; at most {COMPONENT_MAX_BYTES} are accepted")
    return size_bytes


def _check_world(interface: ComponentInterface, world: World) -> None:
    for ours in world.exports:
        difference = interface.export_mismatch(ours)
        if difference:
            raise ComponentInvalid(f"export {ours.name} does not have the world's signature: {difference}")
    for full_name in interface.imports:
        _check_wasi(interface, full_name)
        package, _, name = full_name.partition("/")
        if package != world.package or name not in world.interfaces:
            continue  # judged by name in `check_against_manifest`
        known = {function.name: function for function in world.interfaces[name].functions}
        for function in interface.imported_functions(full_name):
            if function not in known:
                raise ComponentInvalid(f"import {full_name}: there is no function {function}")
            difference = interface.import_mismatch(full_name, function, known[function])
            if difference:
                raise ComponentInvalid(f"import {full_name}: {function} has another signature: {difference}")


def _check_wasi(interface: ComponentInterface, full_name: str) -> None:
    """What would not link is refused here: a name that this runner's WASI does not have."""
    linked = wasi.interface_of(full_name)
    if linked is None:
        return
    unknown = sorted(set(interface.imported_functions(full_name)) - set(wasi.FUNCTIONS[linked]))
    if unknown:
        raise ComponentInvalid(f"import {full_name}: there is no function {', '.join(unknown)}")


def _hint(message: str) -> str:
    return "; build the handler as a synchronous function" if "async" in message else ""


# ---- the component and its manifest -------------------------------------------------------------------------


def _imported_interfaces(facts: ComponentFacts, interfaces: Mapping[str, str]) -> list[str]:
    """Names, without the package, of what is imported of ours. Raises `ComponentInvalid` for anything unknown."""
    found: list[str] = []
    for full_name in facts.imports:
        package, _, name = full_name.partition("/")
        if package == PACKAGE and name in interfaces:
            found.append(name)
        elif full_name == TYPES or wasi.interface_of(full_name) is not None:
            continue
        elif package == PACKAGE:
            known = ", ".join(sorted(interfaces))
            raise ComponentInvalid(f"import {full_name}: of {PACKAGE}, without a version, there are {known}")
        else:
            raise ComponentInvalid(
                f"import {full_name} is not linked; {PACKAGE} and the interfaces of wasi 0.2 "
                "(cli, clocks, filesystem, http, io, random, sockets) that a guest calls are"
            )
    return found


def _undeclared(name: str, capability: str) -> Violation:
    return Violation(
        "$.capabilities",
        "capability_undeclared",
        f"the component imports {PACKAGE}/{name}, which needs {capability}: declare it, "
        f"or drop the line `import {name};` from the WIT world and build again",
    )


def _memory(facts: ComponentFacts, manifest: Manifest) -> list[Violation]:
    needed_mb = -(-facts.initial_memory_bytes // MIB)
    if needed_mb > MEMORY_MAX_MB:
        raise ComponentInvalid(
            f"the component starts with {needed_mb} MiB of memory; at most {MEMORY_MAX_MB} are given"
        )
    asked_mb = manifest.limits.memory_mb or MEMORY_DEFAULT_MB
    if needed_mb <= asked_mb:
        return []
    message = f"must be at least {needed_mb}: the component starts with {facts.initial_memory_bytes} bytes of memory"
    return [Violation("$.limits.memoryMb", "memory_too_small", message)]
