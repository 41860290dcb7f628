"""Preparing a digest: checked, compiled, signed, uploaded, and the same answer however often it is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from wasmtime import wat2wasm

from runner.aot import artefacts
from runner.aot import compiler as compiler_module
from runner.aot.artefacts import Expected
from runner.aot.compiler import Compiler, Target
from runner.aot.jobs import CompileLimits
from runner.bundles.archive import Archives
from runner.bundles.background import Background
from runner.bundles.cache import DiskCache
from runner.bundles.statements import Statements
from runner.sandbox.engine import CPU_TARGET, EngineOptions, engine_id
from shared.digest import sha256_hex
from shared.errors import (
    ArtefactUnavailable,
    BundleInvalid,
    BundleNotFound,
    BundleUntrusted,
    ComponentInvalid,
    ManifestInvalid,
    Overloaded,
    PlatformError,
)
from shared.ids import ContentHash
from shared.keys import PrivateKey
from shared.signing import encode_envelope, sign_statement
from shared.wire import Sbom, SbomPackage
from tests.runner.aot.heavy import children, heavy_guest
from tests.runner.memory_store import MemoryObjects
from tests.runner.published import WAT, Published, component, manifest, publish, trusting
from tests.runner.waiting import until

pytestmark = pytest.mark.guests

KEY = PrivateKey.generate()
AOT = PrivateKey.generate()
ENGINE = engine_id(EngineOptions())


@pytest.fixture
def store() -> MemoryObjects:
    return MemoryObjects()


@pytest.fixture
def bundle(tmp_path: Path, store: MemoryObjects) -> Published:
    found = publish(tmp_path / "bundle", KEY)
    store.held |= found.objects
    return found


Make = Callable[..., Compiler]


@pytest.fixture
async def make(store: MemoryObjects, tampered: list[str], tmp_path: Path) -> AsyncIterator[Make]:
    """A compiler with the limits a test wants."""
    cache = DiskCache(tmp_path / "cache", max_bytes=0)
    await cache.open()
    made: list[Compiler] = []
    async with Background() as background:

        def one(**limits: Any) -> Compiler:
            statements = Statements(store, cache, trusting(KEY), background)
            made.append(
                Compiler(
                    statements=statements,
                    archives=Archives(store, cache, statements, tampered.append),
                    objects=store,
                    key=AOT,
                    target=Target(engine_id=ENGINE, cpu_target=CPU_TARGET, fuel=False),
                    workspace=cache.workspace,
                    limits=CompileLimits(**limits),
                    tampered=tampered.append,
                )
            )
            return made[-1]

        yield one
        for each in made:
            await each.aclose()
    assert list(cache.workspace.iterdir()) == []


@pytest.fixture
def tampered() -> list[str]:
    """Where bytes that failed their check were found."""
    return []


@pytest.fixture
def compiler(make: Make) -> Compiler:
    return make()


def expected(bundle: Published) -> Expected:
    component = bundle.statement.component_sha256
    assert component is not None
    return Expected(component_sha256=component, engine_id=ENGINE, cpu_target=CPU_TARGET)


def keys(bundle: Published) -> tuple[str, str]:
    where = ENGINE, expected(bundle).component_sha256
    return artefacts.object_key(*where), artefacts.signature_key(*where)


async def test_a_good_bundle_is_compiled_and_signed_for_this_engine(
    compiler: Compiler, bundle: Published, store: MemoryObjects
):
    answer = await compiler.prepare(bundle.content_hash, allow_unused_imports=False)
    assert answer.artefact == "compiled"
    assert answer.component_sha256 == bundle.statement.component_sha256
    assert answer.exports == ("handler",)
    assert "alga:extension/storage" in answer.imports
    assert answer.manifest == msgspec.json.encode(manifest())
    assert answer.sizes["component_bytes"] == len(component())
    assert answer.sizes["archive_bytes"] == len(bundle.objects[bundle.archive_key])
    artefact, signature = keys(bundle)
    artefacts.verify(store.held[signature], store.held[artefact], expected(bundle), [AOT.public])


async def test_asked_again_it_is_present_and_nothing_is_written(
    compiler: Compiler, bundle: Published, store: MemoryObjects
):
    first = await compiler.prepare(bundle.content_hash, allow_unused_imports=False)
    before = dict(store.held)
    second = await compiler.prepare(bundle.content_hash, allow_unused_imports=False)
    assert second == msgspec.structs.replace(first, artefact="present")
    assert store.held == before


async def test_many_callers_cost_one_compilation(compiler: Compiler, bundle: Published, store: MemoryObjects):
    callers = [compiler.prepare(bundle.content_hash, allow_unused_imports=False) for _ in range(50)]
    answers = await asyncio.gather(*callers)
    assert {answer.artefact for answer in answers} == {"compiled"}
    assert store.reads[bundle.archive_key] == 1


@pytest.mark.security
@pytest.mark.parametrize("which", [0, 1], ids=["artefact", "signature"])
async def test_an_artefact_that_was_replaced_is_made_again(
    compiler: Compiler, bundle: Published, store: MemoryObjects, tampered: list[str], which: int
):
    await compiler.prepare(bundle.content_hash, allow_unused_imports=False)
    good = dict(store.held)
    name = keys(bundle)[which]
    store.held[name] = store.held[name].replace(b"a", b"b")
    answer = await compiler.prepare(bundle.content_hash, allow_unused_imports=False)
    assert answer.artefact == "compiled"
    assert store.held == good
    assert tampered == ["store"]


async def test_a_ui_only_bundle_needs_no_artefact(compiler: Compiler, store: MemoryObjects, tmp_path: Path):
    bundle = publish(tmp_path / "ui", KEY, {"ui/dist/index.html": b"hello"}, capabilities=None)
    store.held |= bundle.objects
    answer = await compiler.prepare(bundle.content_hash, allow_unused_imports=False)
    assert (answer.artefact, answer.component_sha256, answer.imports) == ("none", None, ())
    assert not [name for name in store.held if name.startswith("aot/")]


# ---- what is refused ----------------------------------------------------------------------------------------

Change = Callable[[Path], Published]


def _lying(field: str, value: Any) -> Change:
    """A publisher who signs a statement that does not describe the archive."""

    def make(folder: Path) -> Published:
        bundle = publish(folder, KEY)
        said = msgspec.structs.replace(bundle.statement, **{field: value})
        bundle.objects[bundle.signature_key] = encode_envelope(sign_statement(said, KEY))
        return bundle

    return make


def _with(files: dict[str, bytes] | None = None, **changes: Any) -> Change:
    return lambda folder: publish(folder, KEY, files, **changes)


def _starting_with(mebibytes: int) -> Change:
    text = WAT.read_text().replace('(memory (export "memory") 2)', f'(memory (export "memory") {mebibytes * 16})')
    return _with({"dist/main.wasm": bytes(wat2wasm(text))}, ui=None)


REFUSED: dict[str, tuple[Change, type[PlatformError], str]] = {
    "another component was signed": (_lying("component_sha256", "0" * 64), BundleInvalid, "another component"),
    "no component was signed": (_lying("component_sha256", None), BundleInvalid, "another component"),
    "another manifest was signed": (_lying("manifest_sha256", "0" * 64), BundleInvalid, "another manifest"),
    "another name was signed": (_lying("name", "com.globex.hello"), BundleInvalid, "another name"),
    "another version was signed": (_lying("version", "2.0.0"), BundleInvalid, "another version"),
    "another publisher was signed": (_lying("publisher", "globex"), BundleInvalid, "another publisher"),
    "a capability is not declared": (_with(capabilities=None), ManifestInvalid, "cap:storage.kv"),
    "not a component": (_with({"dist/main.wasm": b"text"}, ui=None), ComponentInvalid, "not a WebAssembly component"),
    "more memory than it asks for": (_starting_with(65), ManifestInvalid, "must be at least 65"),
    "more memory than any call may have": (_starting_with(257), ComponentInvalid, "257 MiB of memory; at most 256"),
    "a core module": (
        _with({"dist/main.wasm": bytes(wat2wasm("(module)"))}, ui=None),
        ComponentInvalid,
        "core module",
    ),
    "no handler": (
        _with({"dist/main.wasm": bytes(wat2wasm("(component)"))}, ui=None, capabilities=None),
        ComponentInvalid,
        "handler",
    ),
}


@pytest.mark.parametrize("how", REFUSED)
async def test_what_cannot_run_is_refused_with_its_reason_and_leaves_nothing(
    how: str, compiler: Compiler, store: MemoryObjects, tmp_path: Path
):
    make, kind, reason = REFUSED[how]
    bundle = make(tmp_path / "bundle")
    store.held |= bundle.objects
    with pytest.raises(kind, match=reason):
        await compiler.prepare(bundle.content_hash, allow_unused_imports=False)
    assert not [name for name in store.held if name.startswith("aot/")]


async def test_an_unused_import_can_be_a_warning(compiler: Compiler, store: MemoryObjects, tmp_path: Path):
    bundle = publish(tmp_path / "bundle", KEY, capabilities=None)
    store.held |= bundle.objects
    answer = await compiler.prepare(bundle.content_hash, allow_unused_imports=True)
    assert answer.artefact == "compiled"
    assert any("cap:storage.kv" in warning for warning in answer.warnings)


async def test_a_refusal_is_remembered_so_that_asking_again_costs_nothing(
    compiler: Compiler, store: MemoryObjects, tmp_path: Path
):
    bundle = publish(tmp_path / "bundle", KEY, capabilities=None)
    store.held |= bundle.objects
    for _ in range(5):
        with pytest.raises(ManifestInvalid):
            await compiler.prepare(bundle.content_hash, allow_unused_imports=False)
    assert store.reads[bundle.archive_key] == 1


async def test_an_unknown_digest_is_bundle_not_found(compiler: Compiler):
    with pytest.raises(BundleNotFound):
        await compiler.prepare(ContentHash("sha256:" + "0" * 64), allow_unused_imports=False)


@pytest.mark.security
async def test_an_archive_with_other_bytes_is_not_even_opened(
    compiler: Compiler, bundle: Published, store: MemoryObjects
):
    store.held[bundle.archive_key] = b"x" + store.held[bundle.archive_key]
    with pytest.raises(BundleUntrusted):
        await compiler.prepare(bundle.content_hash, allow_unused_imports=False)


async def test_a_disk_that_takes_nothing_is_not_the_publishers_fault(
    compiler: Compiler, bundle: Published, tmp_path: Path
):
    (tmp_path / "cache" / "tmp").rmdir()
    with pytest.raises(ArtefactUnavailable):
        await compiler.prepare(bundle.content_hash, allow_unused_imports=False)
    (tmp_path / "cache" / "tmp").mkdir()


# ---- what it may cost ---------------------------------------------------------------------------------------


@pytest.fixture
def several(tmp_path: Path, store: MemoryObjects) -> list[Published]:
    """Bundles with different components."""
    found = [publish(tmp_path / f"bundle{n}", KEY, {"dist/main.wasm": component(b"%d" % n)}, ui=None) for n in range(4)]
    for one in found:
        store.held |= one.objects
    return found


async def test_one_runs_one_waits_and_the_third_is_told_when_to_come_back(
    make: Make, several: list[Published], store: MemoryObjects
):
    compiler = make(at_once=1, waiting_max=1)
    store.gate.clear()
    first, second = (asyncio.create_task(compiler.prepare(one.content_hash, False)) for one in several[:2])
    await until(lambda: (compiler.jobs.running, compiler.jobs.waiting) == (1, 1))
    with pytest.raises(Overloaded) as raised:
        await compiler.prepare(several[2].content_hash, False)
    assert raised.value.retry_after_s
    again = asyncio.create_task(compiler.prepare(several[1].content_hash, False))  # joins the one that waits
    store.gate.set()
    assert [(await task).artefact for task in (first, second, again)] == ["compiled"] * 3
    assert (await compiler.prepare(several[2].content_hash, False)).artefact == "compiled"
    assert store.reads[several[1].archive_key] == 1


async def test_a_caller_that_waited_long_enough_comes_back_to_work_that_went_on(
    make: Make, bundle: Published, store: MemoryObjects, monkeypatch: pytest.MonkeyPatch
):
    compiler = make()
    store.gate.clear()
    with monkeypatch.context() as impatient:
        impatient.setattr(compiler_module, "PREPARE_MAX_S", 0.05)
        with pytest.raises(ArtefactUnavailable) as raised:
            await compiler.prepare(bundle.content_hash, False)
        assert raised.value.retry_after_s
    store.gate.set()
    assert (await compiler.prepare(bundle.content_hash, False)).artefact == "compiled"
    assert store.reads[bundle.archive_key] == 1


@pytest.mark.slow
async def test_a_turn_ends_with_its_wall_clock_and_the_next_caller_does_not_get_another_at_once(
    make: Make, store: MemoryObjects, tmp_path: Path
):
    bundle = publish(tmp_path / "heavy", KEY, {"dist/main.wasm": heavy_guest(60_000)}, ui=None)
    store.held |= bundle.objects
    compiler = make(wall_s=1.0)
    for _ in range(3):
        with pytest.raises(ArtefactUnavailable) as raised:
            await compiler.prepare(bundle.content_hash, False)
        assert raised.value.retry_after_s
        assert children() == {}
    assert store.reads[bundle.archive_key] == 1
    assert not [name for name in store.held if name.startswith("aot/")]


@pytest.mark.slow
async def test_a_component_beyond_a_limit_is_refused_and_leaves_nothing(
    make: Make, store: MemoryObjects, tmp_path: Path
):
    bundle = publish(tmp_path / "heavy", KEY, {"dist/main.wasm": heavy_guest(60_000)}, ui=None)
    store.held |= bundle.objects
    with pytest.raises(ComponentInvalid, match="processor time"):
        await make(cpu_s=1).prepare(bundle.content_hash, False)
    assert not [name for name in store.held if name.startswith("aot/")]


# ---- bills of materials ---------------------------------------------------------------------------------------

PAGES = {"ui/dist/index.html": b"hello"}
SBOM = b'{"spdxVersion": "SPDX-2.3", "packages": [{"name": "ms", "versionInfo": "2.1.3"}]}'


async def test_the_sbom_that_the_manifest_names_is_read(compiler: Compiler, store: MemoryObjects, tmp_path: Path):
    bundle = publish(tmp_path / "ui", KEY, PAGES | {"sbom.json": SBOM}, capabilities=None, sbom="sbom.json")
    store.held |= bundle.objects
    answer = await compiler.prepare(bundle.content_hash, allow_unused_imports=False)
    assert answer.sbom == Sbom(
        format="spdx",
        spec_version="2.3",
        path="sbom.json",
        sha256=sha256_hex(SBOM),
        packages=(SbomPackage(name="ms", version="2.1.3"),),
    )


async def test_a_bundle_that_names_no_sbom_has_none(compiler: Compiler, store: MemoryObjects, tmp_path: Path):
    bundle = publish(tmp_path / "ui", KEY, PAGES, capabilities=None)
    store.held |= bundle.objects
    assert (await compiler.prepare(bundle.content_hash, allow_unused_imports=False)).sbom is None


async def test_an_sbom_that_is_none_is_refused_with_its_path(compiler: Compiler, store: MemoryObjects, tmp_path: Path):
    bundle = publish(tmp_path / "ui", KEY, PAGES | {"sbom.json": b"{}"}, capabilities=None, sbom="sbom.json")
    store.held |= bundle.objects
    with pytest.raises(BundleInvalid) as caught:
        await compiler.prepare(bundle.content_hash, allow_unused_imports=False)
    assert caught.value.extra["path"] == "sbom.json"
