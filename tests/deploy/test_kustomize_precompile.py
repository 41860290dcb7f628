"""The Job that makes native code before an engine is rolled out: the compiler's pod with another command, apart from it."""

from __future__ import annotations

import os
from pathlib import Path

import kubernetes_validate
import pytest

from runner.precompile import JOBS_MAX, check_engine
from shared.limits import COMPILE_MEMORY_MAX_BYTES, GIB
from tests.deploy.manifests import (
    KUSTOMIZE,
    OVERLAYS,
    Object,
    bytes_of,
    container,
    of_kind,
    overlay,
    pod,
    render,
    selects,
    variables,
    workloads,
)

KUBERNETES = "1.30"
LABEL = {"app.kubernetes.io/name": "precompile"}


@pytest.fixture(params=OVERLAYS)
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> list[Object]:
    """A copy of an overlay with the new image, as deploy/WASMTIME.md has it made."""
    place = tmp_path / "next"
    place.mkdir()
    relative = Path(os.path.relpath(KUSTOMIZE, place))
    place.joinpath("kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: alga-extensions\n"
        f"resources: [{relative}/overlays/{request.param}]\ncomponents: [{relative}/components/precompile]\n"
        "images: [{name: alga-extensions-runner, newTag: 9.9.9}]\n"
    )
    return render(place)


def test_every_object_is_accepted_by_the_strict_schemas(objects):
    for found in objects:
        kubernetes_validate.validate(found, KUBERNETES, strict=True)


def test_it_runs_the_new_image_for_the_engine_that_is_in_it(objects):
    here = container(workloads(objects)["precompile"])
    assert here["image"] == "alga-extensions-runner:9.9.9"
    assert here["command"][:3] == ["python", "-m", "runner.precompile"]
    assert "args" not in here
    arguments = dict(zip(here["command"][3::2], here["command"][4::2], strict=True))
    assert set(arguments) == {"--engine", "--jobs"}
    check_engine(arguments["--engine"], "wasmtime-9.9.9-0123456789abcdef")
    assert 1 <= int(arguments["--jobs"]) <= JOBS_MAX


def test_it_has_what_the_compiler_has_and_no_more(objects):
    job, compiler = workloads(objects)["precompile"], workloads(objects)["compiler"]
    assert variables(objects, "precompile") == variables(objects, "compiler")
    for part in ("securityContext", "volumeMounts", "env"):
        assert container(job)[part] == container(compiler)[part]
    for part in (
        "securityContext",
        "volumes",
        "serviceAccountName",
        "automountServiceAccountToken",
        "enableServiceLinks",
        "nodeSelector",
    ):
        assert pod(job)["spec"][part] == pod(compiler)["spec"][part]


def test_its_memory_holds_what_it_may_compile_at_once(objects):
    here = container(workloads(objects)["precompile"])
    jobs = int(here["command"][-1])
    assert bytes_of(here["resources"]["limits"]["memory"]) >= jobs * COMPILE_MEMORY_MAX_BYTES + GIB
    assert int(here["resources"]["requests"]["cpu"]) == jobs


def test_no_service_sends_it_calls(objects):
    labels = pod(workloads(objects)["precompile"])["metadata"]["labels"]
    assert [
        name
        for name, one in of_kind(objects, "Service").items()
        if selects({"matchLabels": one["spec"]["selector"]}, labels)
    ] == []


def test_applying_what_carries_its_label_touches_nothing_that_runs(objects):
    """`kubectl apply -l app.kubernetes.io/name=precompile`."""
    applied = {
        (one["kind"], one["metadata"]["name"])
        for one in objects
        if selects({"matchLabels": LABEL}, one["metadata"].get("labels", {}))
    }
    policies = {name for kind, name in applied if kind == "NetworkPolicy"}
    assert applied - {("NetworkPolicy", name) for name in policies} == {("Job", "precompile")}
    assert policies <= {"precompile", "precompile-managed-services"}
    labels = pod(workloads(objects)["precompile"])["metadata"]["labels"]
    rules = of_kind(objects, "NetworkPolicy")
    opening = {name for name, one in rules.items() if selects(one["spec"]["podSelector"], labels)}
    assert opening - policies == {"default-deny", "names"}


def test_it_reaches_the_object_store_and_nobody_reaches_it(objects):
    labels = pod(workloads(objects)["precompile"])["metadata"]["labels"]
    for one in of_kind(objects, "NetworkPolicy").values():
        if selects(one["spec"]["podSelector"], labels) and one["metadata"]["name"] != "names":
            assert "ingress" not in one["spec"]
            ports = {port["port"] for rule in one["spec"].get("egress", []) for port in rule["ports"]}
            assert ports <= {443, 8333, 9000}


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_without_it_has_no_such_job(name):
    assert "precompile" not in workloads(overlay(name))
