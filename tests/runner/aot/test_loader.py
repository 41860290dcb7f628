"""Where a runner finds native code, in which order, and that it never takes what was not signed for it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from runner.aot import artefacts, loader
from runner.aot.artefacts import Expected
from runner.aot.loader import Artefact, ArtefactLoader
from runner.bundles.background import Background
from runner.bundles.cache import DiskCache
from runner.bundles.statements import Statements
from shared.deadline import Deadline
from shared.errors import (
    ArtefactUnavailable,
    BundleNotFound,
    BundleUnavailable,
    ComponentInvalid,
    Revoked,
)
from shared.ids import ContentHash
from shared.keys import PrivateKey
from shared.trust import TrustStore
from tests.runner.aot.fakes import FakeCompiler, Stages
from tests.runner.memory_store import MemoryObjects
from tests.runner.published import Published, publish, trusting
from tests.runner.waiting import settled, until

KEY = PrivateKey.generate()
AOT = PrivateKey.generate()
ENGINE, CPU = "wasmtime-test", "x86_64-unknown-linux-gnu"
CODE = b"native code " * 1000
ABSENT = ContentHash("sha256:" + "0" * 64)


def soon() -> Deadline:
    return Deadline.after_ms(10_000)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return publish(tmp_path_factory.mktemp("bundle"), KEY)


@pytest.fixture
def store(bundle: Published) -> MemoryObjects:
    return MemoryObjects(bundle.objects)


@pytest.fixture
def trust() -> TrustStore:
    return trusting(KEY)


def pair(bundle: Published, code: bytes = CODE, key: PrivateKey = AOT, engine: str = ENGINE) -> dict[str, bytes]:
    """What the compiler leaves in the store."""
    component = bundle.statement.component_sha256
    assert component is not None
    stored = artefacts.pack(code)
    expected = Expected(component_sha256=component, engine_id=engine, cpu_target=CPU)
    return {
        artefacts.object_key(ENGINE, component): stored,
        artefacts.signature_key(ENGINE, component): artefacts.sign(key, expected, stored),
    }


@pytest.fixture
def stages() -> Stages:
    return Stages()


@pytest.fixture
def compiler(store: MemoryObjects) -> FakeCompiler:
    return FakeCompiler(store)


def held() -> list[str]:
    """The sealed memories this process has open."""
    found: list[str] = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(entry.readlink()))
    return [link for link in found if "alga-cwasm" in link]


Make = Callable[[], ArtefactLoader]


@pytest.fixture
async def make(
    store: MemoryObjects, trust: TrustStore, compiler: FakeCompiler, stages: Stages, tmp_path: Path
) -> AsyncIterator[Make]:
    """Further calls are further worker processes on the same node."""
    made: list[ArtefactLoader] = []
    async with Background() as background:

        def one() -> ArtefactLoader:
            cache = DiskCache(tmp_path / "cache", max_bytes=1 << 20)
            made.append(
                ArtefactLoader(
                    statements=Statements(store, cache, trust, background),
                    cache=cache,
                    objects=store,
                    compiler=compiler,
                    keys=[AOT.public],
                    engine_id=ENGINE,
                    cpu_target=CPU,
                    background=background,
                    cold_loads=stages,
                )
            )
            return made[-1]

        await DiskCache(tmp_path / "cache", max_bytes=1 << 20).open()
        yield one
    for each in made:
        await each.aclose()
    made.clear()
    if held():
        gc.collect()  # a test's own caught errors hold frames, and those hold results
    assert not held(), "every descriptor was given back"


def taken(artefact: Artefact) -> tuple[bytes, str]:
    """The code and where it came from; gives the descriptor back."""
    try:
        code = os.pread(artefact.memfd, artefact.size_bytes + 1, 0)
    finally:
        os.close(artefact.memfd)
    return code, artefact.source


# ---- where it is found --------------------------------------------------------------------------------------


async def test_a_prepared_artefact_comes_from_the_store_then_memory_then_disk(
    make: Make, bundle: Published, store: MemoryObjects, compiler: FakeCompiler, stages: Stages
):
    store.held |= pair(bundle)
    first = make()
    assert taken(await first.load(bundle.content_hash, soon())) == (CODE, "store")
    assert taken(await first.load(bundle.content_hash, soon())) == (CODE, "memory")
    await settled()
    store.away = True
    assert taken(await make().load(bundle.content_hash, soon())) == (CODE, "disk")
    assert stages == {"store": 1, "disk": 1}
    assert compiler.asked == 0


async def test_a_missing_artefact_is_asked_of_the_compiler(
    make: Make, bundle: Published, compiler: FakeCompiler, stages: Stages
):
    compiler.leaves = pair(bundle)
    assert taken(await make().load(bundle.content_hash, soon())) == (CODE, "compiled")
    assert stages == {"compiled": 1}


async def test_the_artefact_names_its_component(make: Make, bundle: Published, store: MemoryObjects):
    store.held |= pair(bundle)
    found = await make().load(bundle.content_hash, soon())
    os.close(found.memfd)
    assert (found.component_sha256, found.size_bytes) == (bundle.statement.component_sha256, len(CODE))


@pytest.mark.security
async def test_two_hundred_callers_of_a_cold_digest_cost_one_read_each_and_one_compilation(
    make: Make, bundle: Published, store: MemoryObjects, compiler: FakeCompiler
):
    compiler.leaves = pair(bundle)
    compiler.gate.clear()
    one = make()
    callers = [asyncio.create_task(one.load(bundle.content_hash, soon())) for _ in range(200)]
    await until(lambda: compiler.asked)
    compiler.gate.set()
    found = [taken(artefact) for artefact in await asyncio.gather(*callers)]
    assert found == [(CODE, "compiled")] * 200
    assert compiler.asked == 1
    assert set(store.reads.values()) <= {1, 2}  # before and after the compilation
    assert store.reads[bundle.signature_key] == 1


async def test_a_herd_on_a_prepared_digest_reads_each_object_once(make: Make, bundle: Published, store: MemoryObjects):
    store.held |= pair(bundle)
    one = make()
    for artefact in await asyncio.gather(*(one.load(bundle.content_hash, soon()) for _ in range(200))):
        taken(artefact)
    assert set(store.reads.values()) == {1}


async def test_worker_processes_of_one_node_share_one_load(
    make: Make, bundle: Published, store: MemoryObjects, compiler: FakeCompiler
):
    compiler.leaves = pair(bundle)
    found = await asyncio.gather(*(make().load(bundle.content_hash, soon()) for _ in range(3)))
    assert sorted(taken(artefact)[1] for artefact in found) == ["compiled", "disk", "disk"]
    assert compiler.asked == 1


async def test_a_missing_digest_is_remembered_for_a_moment(make: Make, store: MemoryObjects, compiler: FakeCompiler):
    one = make()
    for _ in range(1000):
        with pytest.raises(BundleNotFound):
            await one.load(ABSENT, soon())
    assert store.reads.total() == 1
    assert compiler.asked == 0


# ---- what cannot be had -------------------------------------------------------------------------------------


async def test_a_caller_whose_time_is_over_is_told_to_come_back_and_the_load_goes_on(
    make: Make, bundle: Published, compiler: FakeCompiler
):
    compiler.leaves = pair(bundle)
    compiler.gate.clear()
    one = make()
    with pytest.raises(ArtefactUnavailable) as raised:
        await one.load(bundle.content_hash, Deadline.after_ms(50))
    assert raised.value.retry_after_s == loader.RETRY_AFTER_S
    compiler.gate.set()
    assert taken(await one.load(bundle.content_hash, soon()))[0] == CODE
    assert compiler.asked == 1


@pytest.mark.parametrize("error", [ComponentInvalid("no handler"), ArtefactUnavailable("busy", retry_after_s=5)])
async def test_the_compilers_refusal_is_passed_on_and_not_asked_for_again_at_once(
    make: Make, bundle: Published, compiler: FakeCompiler, error: Exception
):
    compiler.refuses = error
    one = make()
    for _ in range(3):
        with pytest.raises(type(error), match=str(error)):
            await one.load(bundle.content_hash, soon())
    assert compiler.asked == 1


async def test_a_ui_only_bundle_has_no_code(make: Make, store: MemoryObjects, tmp_path: Path):
    ui = publish(tmp_path / "ui", KEY, {"ui/dist/index.html": b"hello"}, capabilities=None)
    store.held |= ui.objects
    with pytest.raises(ComponentInvalid, match="no component"):
        await make().load(ui.content_hash, soon())


async def test_a_store_that_is_away_is_unavailable_for_what_is_cold(
    make: Make, bundle: Published, store: MemoryObjects, compiler: FakeCompiler
):
    one = make()
    store.away = True
    with pytest.raises(BundleUnavailable):
        await one.load(bundle.content_hash, soon())
    assert compiler.asked == 0


async def test_a_disk_that_takes_nothing_still_serves_from_memory(
    make: Make, bundle: Published, store: MemoryObjects, tmp_path: Path
):
    for folder in ("blobs", "tmp", "locks"):
        (tmp_path / "cache" / folder).rmdir()
    (tmp_path / "cache").rmdir()
    (tmp_path / "cache").write_bytes(b"a file")
    store.held |= pair(bundle)
    one = make()
    assert taken(await one.load(bundle.content_hash, soon())) == (CODE, "store")
    store.away = True
    assert taken(await one.load(bundle.content_hash, soon())) == (CODE, "memory")


# ---- what must not be loaded --------------------------------------------------------------------------------

Spoil = Callable[[Published, MemoryObjects], Awaitable[None]]


async def _flipped(bundle: Published, store: MemoryObjects) -> None:
    name = next(name for name in pair(bundle) if not name.endswith(".sig"))
    data = bytearray(pair(bundle)[name])
    data[len(data) // 2] ^= 1
    store.held |= pair(bundle) | {name: bytes(data)}


async def _swapped(bundle: Published, store: MemoryObjects) -> None:
    """The artefact of another component, with its own good signature."""
    other = Expected(component_sha256="cd" * 32, engine_id=ENGINE, cpu_target=CPU)
    stored = artefacts.pack(b"another guest's code")
    for name in pair(bundle):
        store.held[name] = artefacts.sign(AOT, other, stored) if name.endswith(".sig") else stored


async def _other_key(bundle: Published, store: MemoryObjects) -> None:
    store.held |= pair(bundle, code=b"evil", key=PrivateKey.generate())


async def _other_engine(bundle: Published, store: MemoryObjects) -> None:
    store.held |= pair(bundle, engine="wasmtime-old")


async def _unsigned(bundle: Published, store: MemoryObjects) -> None:
    store.held |= {name: data for name, data in pair(bundle).items() if not name.endswith(".sig")}


@pytest.mark.security
@pytest.mark.parametrize("spoil", [_flipped, _swapped, _other_key, _other_engine, _unsigned])
async def test_a_store_that_lies_is_not_believed_and_the_compiler_is_asked(
    spoil: Spoil, make: Make, bundle: Published, store: MemoryObjects, compiler: FakeCompiler
):
    await spoil(bundle, store)
    compiler.leaves = pair(bundle)
    assert taken(await make().load(bundle.content_hash, soon())) == (CODE, "compiled")


@pytest.mark.security
async def test_a_compiler_that_leaves_nothing_usable_is_not_believed_either(
    make: Make, bundle: Published, compiler: FakeCompiler
):
    compiler.leaves = pair(bundle, key=PrivateKey.generate())
    with pytest.raises(ArtefactUnavailable, match="nothing usable"):
        await make().load(bundle.content_hash, soon())


@pytest.mark.security
@pytest.mark.parametrize("suffix", [".zst", ".sig"])
async def test_a_flipped_bit_on_disk_is_refetched_and_the_file_replaced(
    make: Make, bundle: Published, store: MemoryObjects, tmp_path: Path, suffix: str
):
    store.held |= pair(bundle)
    taken(await make().load(bundle.content_hash, soon()))
    await settled()
    (file,) = [path for path in (tmp_path / "cache" / "blobs" / "artefacts").iterdir() if path.name.endswith(suffix)]
    good = file.read_bytes()
    changed = bytearray(good)
    changed[len(changed) // 2] ^= 1
    file.write_bytes(changed)
    assert taken(await make().load(bundle.content_hash, soon())) == (CODE, "store")
    await settled()
    assert file.read_bytes() == good


@pytest.mark.security
async def test_someone_elses_artefact_written_to_the_disk_is_never_mapped(
    make: Make, bundle: Published, store: MemoryObjects, tmp_path: Path
):
    store.held |= pair(bundle)
    taken(await make().load(bundle.content_hash, soon()))
    await settled()
    evil = pair(bundle, code=b"evil", key=PrivateKey.generate())
    for path in (tmp_path / "cache" / "blobs" / "artefacts").iterdir():
        path.write_bytes(next(data for name, data in evil.items() if name.endswith(path.suffix)))
    assert taken(await make().load(bundle.content_hash, soon())) == (CODE, "store")


@pytest.mark.security
async def test_a_revoked_key_stops_code_that_is_already_in_memory(
    make: Make, bundle: Published, store: MemoryObjects, trust: TrustStore
):
    store.held |= pair(bundle)
    one = make()
    taken(await one.load(bundle.content_hash, soon()))
    trust.revoke(KEY.key_id)
    with pytest.raises(Revoked):
        await one.load(bundle.content_hash, soon())
