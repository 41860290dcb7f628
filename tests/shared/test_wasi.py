"""The table of WASI: which names are in it, and which only look as if they were."""

from __future__ import annotations

import pytest

from shared.wasi import FUNCTIONS, HTTP, SOCKETS, interface_of, resources


@pytest.mark.parametrize("patch", [0, 1, 9, 12, 40])
def test_every_patch_release_of_the_second_version_has_the_same_interfaces(patch: int) -> None:
    assert interface_of(f"wasi:io/poll@0.2.{patch}") == "wasi:io/poll"


@pytest.mark.parametrize(
    "name",
    [
        "wasi:io/poll",
        "wasi:io/poll@0.3.0",
        "wasi:io/poll@0.2.0-rc-2023-11-10",
        "wasi:io/poll@0.2.0\n",
        "wasi:io/pool@0.2.0",
        "wasi:cli/run@0.2.0",
        "wasi:http/incoming-handler@0.2.0",
        "acme:io/poll@0.2.0",
        "",
    ],
)
def test_nothing_else_is_an_interface_of_it(name: str) -> None:
    assert interface_of(name) is None


def test_the_resources_of_an_interface_are_read_off_its_functions() -> None:
    assert list(resources(FUNCTIONS["wasi:io/streams"])) == ["input-stream", "output-stream"]
    assert list(resources(FUNCTIONS["wasi:random/random"])) == []
    assert len(list(resources(HTTP["wasi:http/types"]))) == 11


def test_no_function_stands_twice_and_the_network_is_part_of_the_whole() -> None:
    for functions in FUNCTIONS.values():
        assert len(set(functions)) == len(functions)
    assert set(SOCKETS) | set(HTTP) <= set(FUNCTIONS)
