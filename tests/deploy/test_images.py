"""deploy/images/Dockerfile: what it copies exists, what it installs is locked, what it makes has no shell to need, no
privilege and no secret; and the health check of the images asks a real listener.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.deploy import dockerfile
from tests.deploy.manifests import ROLES, ROOT, container, of_kind, overlay, pod, workloads

PROBE = ROOT / "deploy/images/probe.py"
SECRET = re.compile(r"(?i)secret|password|token|_key|credential")


def copied() -> set[str]:
    """What is copied from the repository."""
    return {
        source.rstrip("/")
        for stage in dockerfile.stages().values()
        for one in stage.all("COPY")
        if "from" not in one.flags
        for source in one.words[:-1]
    }


def ignored() -> list[str]:
    """The lines of .dockerignore."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_every_role_is_a_target():
    assert set(ROLES) <= set(dockerfile.stages())


def test_everything_that_is_copied_exists_and_reaches_the_builder():
    assert copied() == {"requirements.lock", "shared", "gateway", "gateway/sdk", "runner", "deploy/images/probe.py"}
    assert [name for name in copied() if not (ROOT / name).exists()] == []
    assert ignored()[0] == "*"  # then only what is named
    assert {line[1:] for line in ignored() if line.startswith("!")} == copied() - {"gateway/sdk"}


def test_what_is_copied_from_a_stage_is_made_there():
    every = dockerfile.stages()
    for stage in every.values():
        for one in stage.all("COPY"):
            if "from" in one.flags:
                assert one.flags["from"] in every
    assert [one.words[0] for one in every["gateway"].all("COPY")] == ["/build/gateway"]
    assert [one.words[0] for one in every["runner"].all("COPY")] == ["/build/runner", "/build/cache/"]


def test_the_pages_javascript_is_built_in_the_image_and_not_taken_from_the_folder():
    (built,) = [one for one in dockerfile.stages()["build"].all("COPY") if one.flags.get("from") == "sdk"]
    assert built.words == ("/sdk/host/dist", "./gateway/gateway/sdk/host/dist")
    assert "**/dist" in ignored()
    (command,) = dockerfile.stages()["sdk"].all("RUN")
    assert "--ignore-scripts" in command.text
    assert command.text.endswith("npm run --silent build")
    assert "build" in json.loads((ROOT / "gateway/sdk/package.json").read_text())["scripts"]


def test_a_service_has_its_own_code_and_not_the_others():
    placed = {one.words[-1] for one in dockerfile.stages()["build"].all("COPY")}
    assert {"./gateway/shared", "./gateway/gateway", "./runner/shared", "./runner/runner"} <= placed
    assert not {"./gateway/runner", "./runner/gateway"} & placed


def test_packages_are_locked_by_hash_and_never_built():
    (install,) = [
        part
        for one in dockerfile.stages()["build"].all("RUN")
        for part in one.text.split("&&")
        if "pip install" in part
    ]
    for option in ("--require-hashes", "--only-binary=:all:", "--no-deps", "-r requirements.lock"):
        assert option in install
    assert "http" not in install


def test_the_base_images_are_arguments_with_plain_names():
    python, node = dockerfile.before_stages()
    assert re.fullmatch(r"PYTHON=python:3\.\d+-slim", python.text)
    assert re.fullmatch(r"NODE=node:\d+-slim", node.text)
    bases = {stage.base for stage in dockerfile.stages().values()} - set(dockerfile.stages())
    assert bases == {"${PYTHON}", "${NODE}"}


def test_nothing_secret_is_built_in():
    given = [one for one in dockerfile.instructions() if one.keyword in ("ARG", "ENV", "LABEL")]
    assert [one.text for one in given if SECRET.search(one.text)] == []
    assert [one.text for one in dockerfile.instructions() if "http" in one.text] == []
    assert not {"ADD", "VOLUME", "ONBUILD"} & {one.keyword for one in dockerfile.instructions()}
    assert not {"build", "sdk"} & {stage.base for stage in dockerfile.stages().values()}  # its layers stay behind


@pytest.mark.parametrize("role", ROLES)
def test_a_role_needs_no_shell(role):
    ours = [one for stage in dockerfile.lineage(role) for one in stage.instructions]
    assert "RUN" not in {one.keyword for one in ours}
    for one in ours:
        if one.keyword in ("ENTRYPOINT", "CMD") or (one.keyword == "HEALTHCHECK" and one.text != "NONE"):
            assert one.argv


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_nobody_in_particular(role):
    user = dockerfile.last(role, "USER").text
    context = pod(workloads(overlay("minimal"))[role])["spec"]["securityContext"]
    assert user == f"{context['runAsUser']}:{context['runAsGroup']}"
    assert context["runAsUser"] > 10_000


COMMANDS = {
    "gateway": ["python", "-m", "gateway"],
    "migrate": ["python", "-m", "gateway.migrate"],
    "runner": ["python", "-m", "runner", "--role", "runner"],
    "compiler": ["python", "-m", "runner", "--role", "compiler"],
}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_starts_the_same_in_its_image_and_in_a_cluster(role):
    of_image = dockerfile.last(role, "ENTRYPOINT").argv
    of_image += dockerfile.last(role, "CMD").argv if role in ("runner", "compiler") else []
    assert of_image == COMMANDS[role]
    here = container(workloads(overlay("minimal"))[role])
    shared_entrypoint = dockerfile.last("gateway" if role in ("gateway", "migrate") else "runner", "ENTRYPOINT").argv
    assert here.get("command", shared_entrypoint) + here.get("args", []) == COMMANDS[role]


@pytest.mark.parametrize("role", ["gateway", "runner", "compiler"])
def test_the_health_check_asks_what_readiness_asks(role):
    argv = dockerfile.last(role, "HEALTHCHECK").argv
    declared = {
        port["name"]: port["containerPort"]
        for port in container(of_kind(overlay("minimal"), "Deployment")[role])["ports"]
    }
    assert argv == ["python", "-I", "/app/probe.py", str(declared["internal"]), "/readyz"]
    exposed = {int(word) for stage in dockerfile.lineage(role) for one in stage.all("EXPOSE") for word in one.words}
    assert set(declared.values()) <= exposed


# ---- the health check itself --------------------------------------------------------------------------------


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/readyz" else 503)
        self.end_headers()
        self.wfile.write(b'{"ready":false}' if self.path != "/readyz" else b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    """A listener that is well at /readyz and nowhere else."""
    with HTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def probe(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-I", str(PROBE), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30, env={})


def test_a_listener_that_answers_200_is_well(port):
    assert probe(str(port), "/readyz").returncode == 0


def test_one_that_answers_otherwise_is_not_and_says_why(port):
    done = probe(str(port), "/other")
    assert (done.returncode, done.stdout) == (1, '503 {"ready":false}\n')


def test_one_that_is_not_there_is_not(port):
    with HTTPServer(("127.0.0.1", 0), _Answers) as closed:
        number = closed.server_port
    done = probe(str(number), "/readyz")
    assert done.returncode == 1
    assert "refused" in done.stdout


@pytest.mark.parametrize("arguments", [(), ("8000",), ("http", "/readyz"), ("8000", "readyz"), ("8000", "/a", "/b")])
def test_a_health_check_that_is_written_wrongly_says_so(arguments):
    done = probe(*arguments)
    assert done.returncode == 2
    assert "usage" in done.stderr
