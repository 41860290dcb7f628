"""The pinned wasmtime against its published faults: the arithmetic, the list itself, and what it claims about us."""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
import wasmtime._ffi
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from deploy.advisories import (
    LIST,
    LOCKS,
    ROOT,
    Advisory,
    AdvisoryError,
    Engine,
    broken_claims,
    main,
    objections,
    our_engine,
    pinned,
    read_list,
)
from shared.component import FEATURES_OFF

LISTED = read_list().advisory
ENGINE = Engine(frozenset({"wasm_gc", "wasm_threads"}), "x86_64-unknown-linux-gnu")
NAMED_BY_THE_THREAT_MODEL = (
    *("CVE-2023-26489", "CVE-2023-41880", "GHSA-7qmx-3fpx-r45m", "GHSA-q8hx-mm92-4wvg"),
    *("CVE-2025-53901", "CVE-2025-61670", "CVE-2025-62711", "CVE-2025-64345"),
    *("CVE-2026-24116", "GHSA-qqfj-4vcm-26hv", "CVE-2026-27195", "CVE-2026-27204", "GHSA-243v-98vx-264h"),
    *("GHSA-394w-hwhg-8vgm", "GHSA-hx6p-xpx3-jvvv", "GHSA-jxhv-7h78-9775", "GHSA-m758-wjhj-p3jq"),
    *("GHSA-6wgr-89rj-399p", "CVE-2026-34971", "CVE-2026-115893", "CVE-2026-104855", "CVE-2026-115384"),
    *("GHSA-m6w2-jwq2-cv2c", "GHSA-wjc8-633q-pwxr"),
)


# ---- the pin ------------------------------------------------------------------------------------------------


def test_nothing_stands_against_the_pinned_version():
    """When this fails: deploy/WASMTIME.md."""
    assert [text for one in LISTED for text in objections(one, pinned(), our_engine())] == []
    assert main([]) == 0


def test_the_installed_wheel_is_the_pinned_one():
    assert Version(__import__("importlib.metadata").metadata.version("wasmtime")) == pinned()


def copy_of_the_pins(folder: Path, **changes: tuple[str, str]) -> Path:
    for name in ("pyproject.toml", *LOCKS):
        text = (ROOT / name).read_text()
        old, new = changes.get(name.replace(".", "_").replace("-", "_"), ("", ""))
        (folder / name).write_text(re.sub(old, new, text) if old else text)
    return folder


def test_the_pin_is_read_from_pyproject_and_every_lock(tmp_path: Path):
    assert pinned(copy_of_the_pins(tmp_path)) == pinned()


@pytest.mark.parametrize(
    "changes",
    [
        {"pyproject_toml": (r"wasmtime==[\d.]+", "wasmtime==50.0.2")},
        {"pyproject_toml": (r"wasmtime==[\d.]+", "wasmtime>=50.0.1")},
        {"pyproject_toml": (r"wasmtime==[\d.]+", "wasmtime==50.*")},
        {"pyproject_toml": (r'"wasmtime==[\d.]+",', "")},
        {"requirements_lock": (r"(?m)^wasmtime==[\d.]+", "wasmtime==50.0.2")},
        {"requirements_dev_lock": (r"(?m)^wasmtime==[\d.]+", "wasmtime==49.0.0")},
        {"requirements_lock": (r"(?m)^wasmtime==", "other==")},
    ],
)
def test_pins_that_differ_or_leave_a_choice_are_refused(tmp_path: Path, changes: dict[str, tuple[str, str]]):
    with pytest.raises(AdvisoryError, match="one version everywhere"):
        pinned(copy_of_the_pins(tmp_path, **changes))


# ---- ranges -------------------------------------------------------------------------------------------------


def around(bound: Version) -> tuple[Version | None, Version, Version]:
    """The release before a bound where there is one in its line, the bound, the release after it."""
    major, minor, patch = bound.release
    below = Version(f"{major}.{minor}.{patch - 1}") if patch else None
    return below, bound, Version(f"{major}.{minor}.{patch + 1}")


def bounds(one: Advisory) -> list[tuple[str, Version]]:
    return [(part.operator, Version(part.version)) for text in one.affected for part in SpecifierSet(text)]


@pytest.mark.parametrize("one", LISTED, ids=lambda one: one.id)
def test_each_range_is_tried_below_at_and_above_its_bounds(one: Advisory):
    for operator, bound in bounds(one):
        below, at, above = around(bound)
        if operator == "<":
            assert below is None or one.affects(below), f"{below} comes before the fix"
            assert not one.affects(at)
            assert not one.affects(above)
        else:
            assert operator == ">=", "half-open ranges only: a reader sees the fixed version"
            assert one.affects(at)
            assert one.affects(above) or ("<", above) in bounds(one)
            before = Version(f"{at.release[0] - 1}.999.999")
            assert not one.affects(before) or any(end > before for sign, end in bounds(one) if sign == "<")


@pytest.mark.parametrize("one", LISTED, ids=lambda one: one.id)
def test_what_is_said_to_be_fixed_is_not_affected_and_the_ranges_stand_in_order(one: Advisory):
    assert [version for version in one.patched if one.affects(Version(version))] == []
    assert {end for sign, end in bounds(one) if sign == "<"} <= {Version(version) for version in one.patched} | {
        end for sign, end in bounds(one) if sign == "<" and one.unknown
    }
    ends = [max(Version(part.version) for part in SpecifierSet(text)) for text in one.affected]
    assert all(first < second for first, second in pairwise(ends))


versions = st.tuples(st.integers(0, 60), st.integers(0, 2), st.integers(0, 20))


@given(versions, versions, versions)
def test_a_range_means_what_it_says(low: tuple[int, ...], high: tuple[int, ...], asked: tuple[int, ...]):
    text = ">={}.{}.{},<{}.{}.{}".format(*low, *high)
    one = fault(affected=(text,))
    assert one.affects(Version(".".join(map(str, asked)))) == (low <= asked < high)


def test_a_release_candidate_counts_like_what_it_is():
    one = fault(affected=("<50.0.2",))
    assert one.affects(Version("50.0.2rc1"))
    assert one.affects(Version("50.0.1.post1"))
    assert not one.affects(Version("50.0.2"))
    assert fault(affected=(">=50.0.0,<50.0.2",)).affects(Version("50.0.0rc1"))
    assert not fault(affected=(">=50.0.0,<50.0.2",)).affects(Version("49.0.9"))


# ---- what lets an affected version pass ---------------------------------------------------------------------


def fault(**changes: object) -> Advisory:
    """A fault that affects 50.0.1 and stands against it."""
    whole: dict[str, object] = {
        "id": "GHSA-aaaa-bbbb-cccc",
        "date": "2026-01-01",
        "summary": "something breaks",
        "affected": ("<50.0.2",),
        "patched": ("50.0.2",),
        "relevance": "direct",
        "why": "guests reach it",
        "we": "nothing yet",
        "source": "a test",
    }
    return msgspec.convert({**whole, **changes}, Advisory)


@pytest.mark.parametrize(
    ("changes", "stands"),
    [
        ({}, ["direct, and nothing but words"]),
        ({"shown_by": ["tests/a.py::test_b"]}, []),
        ({"off": ["wasm_gc"]}, ["direct, and nothing but words"]),  # a switch does not contain what is reachable
        ({"relevance": "absent"}, ["absent, and nothing but words"]),
        ({"relevance": "absent", "off": ["wasm_gc"]}, []),
        ({"relevance": "absent", "off": ["wasm_gc", "wasm_simd"]}, ["wasm_simd is said to be off, and is not"]),
        ({"relevance": "absent", "arch": "aarch64"}, []),
        ({"relevance": "absent", "arch": "x86_64"}, ["x86_64 is said not to be ours, and is"]),
        ({"relevance": "absent", "os": "windows"}, []),
        ({"relevance": "absent", "os": "linux"}, ["linux is said not to be ours, and is"]),
        ({"relevance": "absent", "shown_by": ["tests/a.py::test_b"], "off": ["wasm_simd"]}, ["wasm_simd is said"]),
    ],
)
def test_an_affected_version_passes_only_with_more_than_words(changes: dict[str, object], stands: list[str]):
    found = objections(fault(**changes), Version("50.0.1"), ENGINE)
    assert len(found) == len(stands)
    for text, reason in zip(found, stands, strict=True):
        assert reason in text
        assert "GHSA-aaaa-bbbb-cccc (something breaks) affects 50.0.1" in text
        assert text.endswith("fixed in 50.0.2")
    assert objections(fault(**changes), Version("50.0.2"), ENGINE) == []


def test_the_command_names_what_stands_against_a_candidate(capsys: pytest.CaptureFixture[str]):
    assert main(["6.0.0"]) == 1
    said = capsys.readouterr()
    assert "error: GHSA-ff4p-7xrq-q5r8 (Guest-controlled out-of-bounds read and write on x86-64)" in said.err
    assert "next: take a fixed version" in said.err
    assert main(["not a version"]) == 2


# ---- the list -----------------------------------------------------------------------------------------------


def test_every_fault_that_the_threat_model_names_is_listed():
    known = {name for one in LISTED for name in (one.id, *one.aliases)}
    assert [name for name in NAMED_BY_THE_THREAT_MODEL if name not in known] == []


@pytest.mark.parametrize("one", LISTED, ids=lambda one: one.id)
def test_what_an_entry_says_about_our_engine_is_so(one: Advisory):
    assert broken_claims(one, our_engine()) == []


@pytest.mark.parametrize("one", [one for one in LISTED if one.shown_by], ids=lambda one: one.id)
def test_the_tests_an_entry_points_at_exist(one: Advisory):
    for place in one.shown_by:
        path, _, name = place.partition("::")
        tree = ast.parse((ROOT / path).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}, (
            place
        )


def test_the_list_is_in_order_of_dates_and_no_older_than_its_newest_entry():
    dates = [one.date for one in LISTED]
    assert dates == sorted(dates)
    assert read_list().reviewed >= dates[-1]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('relevance = "direct"', 'relevance = "maybe"'),
        ("affected = [", "affected = []\nother = ["),
        ('affected = ["<4.0.1"', 'affected = ["4.0.1 or so"'),
        ('affected = ["<4.0.1"', 'affected = ["<=4.0.0"'),
        ('affected = ["<4.0.1"', 'affected = ["==4.0.0"'),
        ('patched = ["4.0.1"', 'patched = ["four"'),
        ('id = "GHSA-xm67-587q-r2vw"', 'id = "GHSA-ff4p-7xrq-q5r8"'),
        ('id = "GHSA-xm67-587q-r2vw"', 'id = "CVE-2023-27477"'),
        ("[[advisory]]", "[[advisory"),
    ],
)
def test_a_list_that_is_wrong_is_refused(tmp_path: Path, old: str, new: str):
    text = LIST.read_text()
    assert old in text
    path = tmp_path / "advisories.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(AdvisoryError, match=r"advisories\.toml: "):
        read_list(path)


# ---- what entries claim and no switch shows -----------------------------------------------------------------


CORE = r"wasmtime[^\n]*\bCaller\b|wasmtime_(?:func_new|linker_define_func)|\bFuncType\b"


def sources() -> dict[str, str]:
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "runner").rglob("*.py")}


def test_the_wheel_is_built_with_the_features_whose_absence_is_the_fault():
    """The C API has the functions of a cargo feature only when it was built with it."""
    assert hasattr(wasmtime._ffi.dll, "wasmtime_externref_new")  # gc
    assert hasattr(wasmtime._ffi.dll, "wasmtime_sharedmemory_new")  # threads


def test_no_code_of_ours_defines_core_host_functions():
    """A `Caller` reaches core host functions only; ours are functions of components."""
    assert [name for name, text in sources().items() if re.search(CORE, text)] == []


def test_wasmtimes_own_http_is_never_linked():
    assert [name for name, text in sources().items() if "add_wasi_http" in text] == []


def test_no_other_code_generator_is_switched_on():
    assert [name for name, text in sources().items() if re.search(r"(?i)winch|\.strategy\s*=", text)] == []


def test_no_directory_is_ever_opened_for_a_guest():
    assert [name for name, text in sources().items() if "preopen" in text] == []


def test_what_the_engine_has_off_is_refused_at_publish_as_well():
    assert {"cm-async", "exceptions", "gc", "memory64", "tail-call", "threads"} <= set(FEATURES_OFF)
