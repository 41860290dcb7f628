"""Where a runner finds native code, in which order, and that it never takes what was not signed for it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import structlog

from runner.aot import loader
from runner.aot.loader import ArtefactLoader
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
from tests.runner.aot.signed_code import AOT, CODE, CPU, ENGINE, SPOILED, pair, taken
from tests.runner.memory_store import MemoryObjects
from tests.runner.published import Published, publish, trusting
from tests.runner.waiting import settled, until

KEY = PrivateKey.generate()
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


@pytest.fixture
def stages() -> Stages:
    return Stages()


@pytest.fixture
def tampered() -> list[str]:
    """Where bytes that failed their check were found."""
    return []


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
    store: MemoryObjects,
    trust: TrustStore,
    compiler: FakeCompiler,
    stages: Stages,
    tampered: list[str],
    tmp_path: Path,
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
                    tampered=tampered.append,
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


@pytest.mark.security
@pytest.mark.parametrize("which", SPOILED)
async def test_a_store_that_lies_is_not_believed_and_the_compiler_is_asked(
    which: str, make: Make, bundle: Published, store: MemoryObjects, compiler: FakeCompiler, tampered: list[str]
):
    store.held |= SPOILED[which](bundle)
    compiler.leaves = pair(bundle)
    with structlog.testing.capture_logs() as lines:
        assert taken(await make().load(bundle.content_hash, soon())) == (CODE, "compiled")
    assert tampered == ["store"]
    assert [(line["event"], line["component"]) for line in lines if line["log_level"] == "error"] == [
        ("cache_tampered", bundle.statement.component_sha256)
    ]


async def test_an_artefact_without_its_signature_is_merely_missing(
    make: Make, bundle: Published, store: MemoryObjects, compiler: FakeCompiler, tampered: list[str]
):
    """A reader between the compiler's two writes sees just this."""
    store.held |= {name: data for name, data in pair(bundle).items() if not name.endswith(".sig")}
    compiler.leaves = pair(bundle)
    assert taken(await make().load(bundle.content_hash, soon())) == (CODE, "compiled")
    assert tampered == []


@pytest.mark.security
@pytest.mark.parametrize("which", SPOILED)
async def test_a_disk_that_lies_is_not_believed_and_gets_the_stores_bytes(
    which: str, make: Make, bundle: Published, store: MemoryObjects, tampered: list[str], tmp_path: Path
):
    store.held |= pair(bundle)
    taken(await make().load(bundle.content_hash, soon()))
    await settled()
    good = on_disk(tmp_path)
    for name, data in SPOILED[which](bundle).items():
        (file,) = [path for path in good if path.suffix == Path(name).suffix]
        file.write_bytes(data)
    with structlog.testing.capture_logs() as lines:
        assert taken(await make().load(bundle.content_hash, soon())) == (CODE, "store")
    assert tampered == ["disk"]
    assert "cache_tampered" in {line["event"] for line in lines if line["log_level"] == "error"}
    await settled()
    assert on_disk(tmp_path) == good


def on_disk(tmp_path: Path) -> dict[Path, bytes]:
    """What the cache keeps of artefacts."""
    return {path: path.read_bytes() for path in (tmp_path / "cache" / "blobs" / "artefacts").iterdir()}


@pytest.mark.security
async def test_a_compiler_that_leaves_nothing_usable_is_not_believed_either(
    make: Make, bundle: Published, compiler: FakeCompiler
):
    compiler.leaves = pair(bundle, key=PrivateKey.generate())
    with pytest.raises(ArtefactUnavailable, match="nothing usable"):
        await make().load(bundle.content_hash, soon())


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
