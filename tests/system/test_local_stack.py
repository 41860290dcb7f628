"""The local stack itself: what it prints is true, it keeps its data, and it leaves no process however it ends."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from deploy.local import background, commands, ports, record
from deploy.local.__main__ import main
from deploy.local.progress import Progress
from deploy.local.record import Stack
from deploy.local.samples import SAMPLES
from deploy.local.stack import Options

ROOT = Path(__file__).resolve().parents[2]
GONE_MAX_S = 30.0


class Hello(msgspec.Struct, frozen=True):
    """What every sample answers at `/hello`."""

    message: str
    tenant: str


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + GONE_MAX_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def _get(url: str, credential: str) -> Hello:
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {credential}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return msgspec.json.decode(answer.read(), type=Hello)


# ---- the session's stack ------------------------------------------------------------------------------------


def test_every_service_is_ready(stack: Stack, stack_directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--json", "--dir", str(stack_directory)]) == 0
    status = msgspec.json.decode(capsys.readouterr().out, type=commands.Status)
    assert {name for name, service in status.services.items() if service.ready} == {"gateway", "runner", "compiler"}


def test_both_tenants_have_every_sample(stack: Stack) -> None:
    assert [tenant.id for tenant in stack.tenants] == ["acme", "globex"]
    for tenant in stack.tenants:
        installs = [stack.extension(sample, tenant.id) for sample in SAMPLES]
        assert len({install.install_id for install in installs}) == len(SAMPLES)
    assert len({extension.install_id for extension in stack.extensions}) == 2 * len(SAMPLES)


def test_every_curl_line_works_as_printed(stack: Stack) -> None:
    lines = [line.strip() for line in commands.summary(stack).splitlines() if line.strip().startswith("curl ")]
    assert len(lines) == len(SAMPLES)
    for line in lines:
        _, _, header, url = shlex.split(line)
        answer = _get(url, header.removeprefix("authorization: Bearer "))
        assert (answer.message, answer.tenant) == ("hello", "acme")


def test_every_credential_of_a_tenant_acts_for_that_tenant(stack: Stack) -> None:
    for tenant in stack.tenants:
        url = f"{stack.gateway_url}/api/ext/{stack.extension('hello-quickjs', tenant.id).name}/hello"
        for credential in (tenant.admin_token, tenant.user_token, tenant.api_key):
            assert _get(url, credential).tenant == tenant.id


def test_a_second_stack_in_its_directory_is_refused(stack: Stack, stack_directory: Path) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "deploy.local", "up", "--dir", str(stack_directory)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert f"a stack already runs in {stack_directory} (pid " in second.stdout
    assert record.read(stack_directory) == stack


# ---- a stack of its own -------------------------------------------------------------------------------------


@pytest.fixture
def options(tmp_path: Path) -> Iterator[Options]:
    """A small stack beside the session's, not started yet; whatever is left of it goes."""
    chosen = Options(directory=tmp_path / "stack", samples=("hello-quickjs",), random_ports=True)
    yield chosen
    commands.reset(chosen.directory, Progress())


def _ports_are_free(directory: Path) -> bool:
    numbers = msgspec.json.decode((directory / "ports.json").read_bytes(), type=dict[str, int])
    return all(ports.is_free(port) for port in numbers.values())


def test_a_second_start_keeps_data_addresses_and_credentials(options: Options) -> None:
    with background.attached(options) as first:
        url = f"{first.gateway_url}/api/ext/alga.samples.hello-quickjs/hello"
        assert _get(url, first.tenant("globex").api_key).tenant == "globex"
    assert not (options.directory / record.NAME).exists()
    assert _ports_are_free(options.directory)
    with background.attached(options) as second:
        assert second.extensions == first.extensions
        assert second.gateway_url == first.gateway_url
        assert second.database_url == first.database_url
        assert second.tenant("acme").api_key == first.tenant("acme").api_key
        assert _get(url, first.tenant("globex").api_key).tenant == "globex"


def test_a_service_that_dies_ends_the_stack_with_its_name(options: Options) -> None:
    with background.attached(options) as running:
        os.kill(running.pids["compiler"], signal.SIGKILL)
        assert _until(lambda: not any(_lives(pid) for pid in running.pids.values()))
        assert _until(lambda: _ports_are_free(options.directory))
    said = (options.directory / "logs" / "stack.log").read_text()
    assert "compiler ended with status -9 while the stack was running" in said
    assert "next: " in said


def test_a_killed_stack_leaves_no_process_and_starts_again(options: Options) -> None:
    with background.attached(options) as running:
        os.kill(int((options.directory / "lock").read_text()), signal.SIGKILL)
        assert _until(lambda: not any(_lives(pid) for pid in running.pids.values()))
        assert _until(lambda: _ports_are_free(options.directory))
    with background.attached(options) as again:
        assert again.extensions == running.extensions


def test_detached_it_lives_on_until_down(options: Options) -> None:
    up = [sys.executable, "-m", "deploy.local", "up", "--detach", "--dir", str(options.directory)]
    up += ["--ports", "random", "--samples", "none"]
    started = subprocess.run(up, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert started.returncode == 0, started.stdout
    assert "\nready\n" in started.stdout
    pids = record.read(options.directory).pids
    assert all(_lives(pid) for pid in pids.values())
    assert commands.down(options.directory, Progress()) == 0
    assert not any(_lives(pid) for pid in pids.values())
    assert _ports_are_free(options.directory)


def test_an_interrupt_while_it_starts_stops_what_has_started(options: Options) -> None:
    up = [sys.executable, "-m", "deploy.local", "up", "--dir", str(options.directory), "--ports", "random"]
    with subprocess.Popen(up, cwd=ROOT, stdout=subprocess.PIPE, text=True) as starting:
        assert starting.stdout is not None
        assert " s  " in starting.stdout.readline()
        starting.send_signal(signal.SIGINT)
        rest, _ = starting.communicate(timeout=90)
    assert starting.returncode == 0
    assert "stopped; the data is kept" in rest
    assert _ports_are_free(options.directory)
