"""What our figures stand beside: `wasmtime serve` with its own JavaScript guest, and Hypercorn answering a constant."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from gateway.cli.toolchains import find_node, find_package
from runner.listener import KEEP_ALIVE_S, REQUESTS_PER_CONNECTION, SLOW_READ_S
from tests.bench.constant import Constant

PEER: Final = Path(__file__).parent / "peer"
EXAMPLES: Final = Path(__file__).parents[1] / "examples"
START_MAX_S: Final = 60.0  # `wasmtime serve` compiles 12 MB first

HANDLER_WIT: Final = """
interface incoming-handler {
  use types.{incoming-request, response-outparam};
  handle: func(request: incoming-request, response-out: response-outparam);
}
"""


def peer_component(directory: Path) -> Path:
    """The guest for `wasmtime serve`, built by the same toolchain as our samples; kept in `directory`."""
    directory = directory.absolute()
    built = directory / "peer.wasm"
    if built.exists():
        return built
    directory.mkdir(parents=True, exist_ok=True)
    toolchain = find_package(EXAMPLES, "@bytecodealliance/componentize-js") / "src" / "componentize.js"
    build = [str(find_node()), str(PEER / "build.mjs"), str(toolchain), str(PEER / "hello.js")]
    probe, wit = directory / "probe.wasm", directory / "wit"
    subprocess.run([*build, str(probe)], check=True, capture_output=True, timeout=300)
    tools = Path(sys.executable).with_name("wasm-tools")
    subprocess.run([tools, "component", "wit", probe, "--out-dir", wit], check=True, capture_output=True, timeout=60)
    http = wit / "deps" / "http.wit"
    version = http.read_text().partition("@")[2].partition(";")[0]
    http.write_text(http.read_text() + HANDLER_WIT)
    (wit / "component.wit").write_text(
        f"package bench:peer;\nworld peer {{\n  export wasi:http/incoming-handler@{version};\n}}\n"
    )
    subprocess.run([*build, str(built), str(wit)], check=True, capture_output=True, timeout=300)
    return built


def free_port() -> int:
    """A port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def serving(command: list[str], port: int) -> Iterator[tuple[str, int]]:
    """Run a server until the block ends; gives its URL and its process id."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    url = f"http://127.0.0.1:{port}/hello"
    try:
        _wait(url, process)
        yield url, process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):  # it never came up
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_MAX_S
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} did not serve {url}")


@contextlib.contextmanager
def wasmtime_serve(directory: Path) -> Iterator[tuple[str, int]]:
    """`wasmtime serve` running its own JavaScript hello."""
    port = free_port()
    tool = str(Path(sys.executable).with_name("wasmtime"))
    command = [tool, "serve", "-S", "cli", "--addr", f"127.0.0.1:{port}", str(peer_component(directory))]
    with serving(command, port) as found:
        yield found


@contextlib.contextmanager
def bare_hypercorn(workers: int) -> Iterator[tuple[str, int]]:
    """Hypercorn answering a constant with as many workers as our runner has, and as patient as ours."""
    with _hypercorn("constant_app()", {"workers": workers}) as found:
        yield found


@contextlib.contextmanager
def constant(answer: Constant, workers: int) -> Iterator[tuple[str, int]]:
    """Hypercorn giving this answer to everything, listening as the runner's public listener does."""
    settings = {
        "workers": workers,
        "include_server_header": "false",
        "keep_alive_timeout": KEEP_ALIVE_S,
        "read_timeout": SLOW_READ_S,
    }
    with tempfile.NamedTemporaryFile(suffix=".msgpack") as file:
        file.write(msgspec.msgpack.encode(answer))
        file.flush()
        with _hypercorn(f"constant_app({file.name!r})", settings) as found:
            yield found


@contextlib.contextmanager
def _hypercorn(application: str, settings: dict[str, object]) -> Iterator[tuple[str, int]]:
    """Hypercorn serving what an expression of the module `constant` gives."""
    port = free_port()
    lines = {
        "bind": f'["127.0.0.1:{port}"]',
        "worker_class": '"uvloop"',
        "keep_alive_max_requests": REQUESTS_PER_CONNECTION,
        **settings,
    }
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write("".join(f"{name} = {value}\n" for name, value in lines.items()))
        config.flush()
        command = [sys.executable, "-m", "hypercorn", "-c", config.name, f"tests.bench.constant:{application}"]
        with serving(command, port) as found:
            yield found
