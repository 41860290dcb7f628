"""The one engine configuration: what a guest's native code is compiled for and runs under.

The compiler role and every sandbox build their `Engine` here, so a `.cwasm` fits by construction. Whatever changes
generated code or its compatibility is part of `engine_id`, and `aot/<engine_id>/…` is where artefacts stand; so an
artefact of another configuration is never even looked at.

Proposals no supported guest toolchain needs are off: each is attack surface (notes on past advisories in
`shared/decisions/0003`). No `RLIMIT_AS` goes with this: an instance reserves 4 GiB of address space.
"""

from __future__ import annotations

import importlib.metadata
from typing import Final

import msgspec
from wasmtime import Config, Engine, _bindings

from shared.digest import sha256_hex
from shared.limits import (
    INSTANCE_STATE_MAX_BYTES,
    KEEP_RESIDENT_BYTES,
    MEMORIES_KEPT_MAX,
    MEMORY_MAX_MB,
    MIB,
    STORE_MAX_INSTANCES,
    STORE_MAX_MEMORIES,
    STORE_MAX_TABLES,
    TABLE_KEEP_RESIDENT_BYTES,
    TABLE_MAX_ELEMENTS,
    WASM_STACK_MAX_BYTES,
)

CPU_TARGET: Final = "x86_64-unknown-linux-gnu"  # a fixed baseline, never the compiling node's own CPU
CPU_FLAGS: Final = (
    "has_sse3",
    "has_ssse3",
    "has_sse41",
    "has_sse42",
    "has_popcnt",
)  # x86-64-v2: every server since 2009

_OFF: Final = (
    "wasm_threads",
    "wasm_tail_call",
    "wasm_memory64",
    "wasm_gc",
    "wasm_exceptions",
    "wasm_stack_switching",
    "wasm_function_references",
    "wasm_relaxed_simd",
    "wasm_custom_page_sizes",
    "wasm_wide_arithmetic",
    "shared_memory",
    "debug_info",
    "parallel_compilation",
)
_OFF_UNWRAPPED: Final = (
    "wasm_component_model_async",
    "wasm_component_model_async_stackful",
    "wasm_component_model_more_async_builtins",
    "concurrency_support",
)


_POOLING: Final = {
    "total_component_instances": 1,  # one guest at a time
    "total_core_instances": STORE_MAX_INSTANCES,
    "total_memories": STORE_MAX_MEMORIES,
    "total_tables": STORE_MAX_TABLES,
    "max_core_instances_per_component": STORE_MAX_INSTANCES,
    "max_memories_per_component": STORE_MAX_MEMORIES,
    "max_tables_per_component": STORE_MAX_TABLES,
    "max_memories_per_module": STORE_MAX_MEMORIES,
    "max_tables_per_module": STORE_MAX_TABLES,
    "max_component_instance_size": INSTANCE_STATE_MAX_BYTES,
    "max_core_instance_size": INSTANCE_STATE_MAX_BYTES,
    "max_memory_size": MEMORY_MAX_MB * MIB,
    "table_elements": TABLE_MAX_ELEMENTS,
    "linear_memory_keep_resident": KEEP_RESIDENT_BYTES,
    "table_keep_resident": TABLE_KEEP_RESIDENT_BYTES,
    "max_unused_warm_slots": MEMORIES_KEPT_MAX,
}


class EngineOptions(msgspec.Struct, frozen=True):
    """What may differ between deployments.

    Attributes:
        fuel: compile for deterministic metering (+19–50 % time); `RUNNER_FUEL=1`.
    """

    fuel: bool = False


def make_config(options: EngineOptions) -> Config:
    """The configuration for compiling and for running; the same object shape for both."""
    config = Config()
    config.target = CPU_TARGET
    for flag in CPU_FLAGS:
        config.cranelift_flag_enable(flag)
    config.wasm_component_model = True
    config.epoch_interruption = True
    config.consume_fuel = options.fuel
    config.max_wasm_stack = WASM_STACK_MAX_BYTES
    config.memory_init_cow = True
    for name in _OFF:
        setattr(config, name, False)
    for name in _OFF_UNWRAPPED:
        getattr(_bindings, f"wasmtime_config_{name}_set")(config.ptr(), False)
    return config


def make_engine(options: EngineOptions) -> Engine:
    """An engine that allocates on demand, as the compiler role uses it; one per process (GHSA-7qmx-3fpx-r45m)."""
    return Engine(make_config(options))


def make_pooling_engine(options: EngineOptions) -> Engine:
    """The engine of a sandbox: one pre-reserved slot, whose first pages stay resident between calls (decision 0006).

    The limits are those of the store, so a component that fits one fits the other. Code compiled for `make_engine`
    runs here unchanged.
    """
    config = make_config(options)
    pooling = _bindings.wasmtime_pooling_allocation_config_new()
    for name, value in _POOLING.items():
        getattr(_bindings, f"wasmtime_pooling_allocation_config_{name}_set")(pooling, value)
    _bindings.wasmtime_pooling_allocation_strategy_set(config.ptr(), pooling)
    _bindings.wasmtime_pooling_allocation_config_delete(pooling)
    return Engine(config)


def switched_off() -> frozenset[str]:
    """The names of everything that is off, as `runner/sandbox/advisories.toml` refers to it."""
    return frozenset(_OFF + _OFF_UNWRAPPED)


def engine_id(options: EngineOptions) -> str:
    """The name of this configuration: wasmtime's version and 16 hex digits over everything that shapes the code."""
    version = importlib.metadata.version("wasmtime")
    shape = "|".join(
        (
            version,
            CPU_TARGET,
            ",".join(CPU_FLAGS),
            f"stack={WASM_STACK_MAX_BYTES}",
            f"fuel={options.fuel}",
            "epoch,cow",
            "off:" + ",".join(_OFF + _OFF_UNWRAPPED),
        )
    )
    return f"wasmtime-{version}-{sha256_hex(shape.encode())[:16]}"
