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

from gateway.cli.toolchains import find_node, find_package
from runner.listener import REQUESTS_PER_CONNECTION

PEER: Final = Path(__file__).parent / "peer"
EXAMPLES: Final = Path(__file__).parents[1] / "examples"
START_MAX_S: Final = 60.0  # `wasmtime serve` compiles 12 MB first

HANDLER_WIT: Final = """
interface incoming-handler {
  use types.{incoming-request, response-outparam};
  handle: func(request: incoming-request, response-out: response-outparam);
}
"""


def constant_app() -> object:
    """An ASGI application that answers one constant: the floor of everything served by Hypercorn."""
    body = b'{"message":"hello"}'
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]

    async def app(scope: dict[str, object], receive: object, send: object) -> None:
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):  # type: ignore[operator]
            continue
        await send({"type": "http.response.start", "status": 200, "headers": headers})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": body})  # type: ignore[operator]

    return app


app = constant_app()


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
    raise RuntimeError(f"{process.args} did not serve {url}")


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
    port = free_port()
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write(
            f'bind = ["127.0.0.1:{port}"]\nworkers = {workers}\nworker_class = "uvloop"\n'
            f"keep_alive_max_requests = {REQUESTS_PER_CONNECTION}\n"
        )
        config.flush()
        command = [sys.executable, "-m", "hypercorn", "-c", config.name, "tests.bench.peers:app"]
        with serving(command, port) as found:
            yield found
