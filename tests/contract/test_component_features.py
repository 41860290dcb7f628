"""What the component check refuses and what the engine has off are the same proposals, so what passes also compiles."""

from __future__ import annotations

from runner.sandbox import engine
from shared.component import FEATURES_OFF

# Named otherwise by the program, or a switch of the engine that is no proposal.
SAME = {"cm-async": "component_model_async", "cm-async-stackful": "component_model_async_stackful"}
SAME |= {"cm-more-async-builtins": "component_model_more_async_builtins"}
PART_OF_ANOTHER = {"shared-everything-threads", "legacy-exceptions"}
NO_PROPOSAL = {"shared_memory", "debug_info", "parallel_compilation", "concurrency_support"}


def test_every_proposal_the_engine_has_off_is_refused_at_the_door_and_no_other():
    switches = {name.removeprefix("wasm_") for name in (*engine._OFF, *engine._OFF_UNWRAPPED)} - NO_PROPOSAL
    features = {SAME.get(name, name.replace("-", "_")) for name in FEATURES_OFF if name not in PART_OF_ANOTHER}
    assert features == switches
