"""Every pod keeps the restricted Pod Security Standard, has what it needs and no more, and is given time to finish."""

from __future__ import annotations

import pytest

from gateway import __main__ as gateway_main
from gateway import server as gateway_server
from runner.supervisor.supervise import KILL_AFTER_S
from shared.limits import MEMORY_DEFAULT_MB, MIB, PREPARE_MAX_S
from tests.deploy.manifests import (
    OVERLAYS,
    ROLES,
    Object,
    bytes_of,
    container,
    mounts,
    of_kind,
    overlay,
    pod,
    variables,
    with_change,
    workloads,
)

UID = 65532
WORKER_BYTES = 256 * MIB  # a runner worker and its zygote: 130 MiB resident when idle, and what calls under way hold
IDLE_SANDBOX_BYTES = 4 * MIB
CLOSING_S = 5  # pools are closed, the last rows written


@pytest.fixture(params=OVERLAYS)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    """What one overlay renders to."""
    return overlay(request.param)


def offences(workload: Object) -> set[str]:
    """What the restricted Pod Security Standard, or we, would refuse about a workload's pod."""
    spec, here = pod(workload)["spec"], container(workload)
    outer, inner = spec.get("securityContext", {}), here.get("securityContext", {})
    rules = {
        "host namespaces": not any(spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")),
        "host ports": not any(port.get("hostPort") for port in here.get("ports", [])),
        "volumes": all(set(volume) & {"emptyDir", "secret", "configMap"} for volume in spec["volumes"]),
        "root": outer.get("runAsNonRoot") is True and outer.get("runAsUser") == outer.get("runAsGroup") == UID,
        "root in container": not {"runAsUser", "runAsNonRoot", "runAsGroup"} & set(inner),
        "seccomp": outer.get("seccompProfile") == {"type": "RuntimeDefault"} and "seccompProfile" not in inner,
        "escalation": inner.get("allowPrivilegeEscalation") is False,
        "privileged": not inner.get("privileged"),
        "capabilities": inner.get("capabilities") == {"drop": ["ALL"]},
        "root file system": inner.get("readOnlyRootFilesystem") is True,
        "proc mount": inner.get("procMount", "Default") == "Default",
        "sysctls": not outer.get("sysctls"),
        "token": spec.get("automountServiceAccountToken") is False,
        "service links": spec.get("enableServiceLinks") is False,
    }
    return {name for name, kept in rules.items() if not kept}


@pytest.mark.parametrize("role", ROLES)
def test_a_pod_keeps_the_restricted_standard(objects, role):
    assert offences(workloads(objects)[role]) == set()


SPEC = ("spec", "template", "spec")
HERE = (*SPEC, "containers", 0)


@pytest.mark.parametrize(
    ("path", "value", "offence"),
    [
        ((*SPEC, "hostPID"), True, "host namespaces"),
        ((*HERE, "ports"), [{"containerPort": 1, "hostPort": 1}], "host ports"),
        ((*SPEC, "volumes"), [{"name": "x", "hostPath": {"path": "/"}}], "volumes"),
        ((*SPEC, "securityContext", "runAsUser"), 0, "root"),
        ((*HERE, "securityContext", "runAsNonRoot"), False, "root in container"),
        ((*SPEC, "securityContext", "seccompProfile"), {"type": "Unconfined"}, "seccomp"),
        ((*HERE, "securityContext", "allowPrivilegeEscalation"), True, "escalation"),
        ((*HERE, "securityContext", "privileged"), True, "privileged"),
        ((*HERE, "securityContext", "capabilities"), {"drop": ["ALL"], "add": ["SYS_ADMIN"]}, "capabilities"),
        ((*HERE, "securityContext", "readOnlyRootFilesystem"), False, "root file system"),
        ((*HERE, "securityContext", "procMount"), "Unmasked", "proc mount"),
        ((*SPEC, "securityContext", "sysctls"), [{"name": "x", "value": "1"}], "sysctls"),
        ((*SPEC, "automountServiceAccountToken"), True, "token"),
        ((*SPEC, "enableServiceLinks"), True, "service links"),
    ],
)
def test_a_pod_that_asks_for_more_is_noticed(path, value, offence):
    runner = of_kind(overlay("minimal"), "Deployment")["runner"]
    assert offences(with_change(runner, *path, value=value)) == {offence}


def test_the_namespace_refuses_pods_that_ask_for_more(objects):
    (namespace,) = of_kind(objects, "Namespace").values()
    labels = namespace["metadata"]["labels"]
    modes = {mode: labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")}
    assert modes == dict.fromkeys(modes, "restricted")


def test_each_role_has_an_identity_of_its_own_that_the_cluster_gives_nothing(objects):
    accounts = of_kind(objects, "ServiceAccount")
    assert set(accounts) == set(ROLES)
    assert {account["automountServiceAccountToken"] for account in accounts.values()} == {False}
    assert {role: pod(workloads(objects)[role])["spec"]["serviceAccountName"] for role in ROLES} == {
        role: role for role in ROLES
    }


@pytest.mark.parametrize("role", ROLES)
def test_what_is_written_goes_to_a_bounded_volume(objects, role):
    written = {path: volume["emptyDir"] for path, volume in mounts(objects, role).items() if "emptyDir" in volume}
    assert set(written) == {"/tmp"} | ({"/var/cache/alga-extensions"} if role in ("runner", "compiler") else set())
    limit = bytes_of(container(workloads(objects)[role])["resources"]["limits"]["ephemeral-storage"])
    on_disk = [volume for volume in written.values() if volume.get("medium") != "Memory"]
    # A pod above its limit is evicted: what its volumes may hold and a log file must fit.
    assert sum(bytes_of(volume["sizeLimit"]) for volume in on_disk) + 64 * MIB <= limit


@pytest.mark.parametrize("role", ROLES)
def test_a_secret_is_a_read_only_file_of_its_own_role(objects, role):
    paths = {path: volume["secret"] for path, volume in mounts(objects, role).items() if "secret" in volume}
    assert paths == {"/run/secrets/alga": {"secretName": f"{role}-secrets", "defaultMode": 0o440}}
    read_only = {
        mount["mountPath"]: mount.get("readOnly") for mount in container(workloads(objects)[role])["volumeMounts"]
    }
    assert all(read_only[path] for path in read_only if path.startswith(("/run/", "/etc/")))
    assert pod(workloads(objects)[role])["spec"]["securityContext"]["fsGroup"] == UID


@pytest.mark.parametrize("role", ROLES)
def test_every_container_says_what_it_needs(objects, role):
    resources = container(workloads(objects)[role])["resources"]
    assert set(resources["requests"]) == {"cpu", "memory", "ephemeral-storage"}
    assert {"memory", "ephemeral-storage"} <= set(resources["limits"])
    for name in ("memory", "ephemeral-storage"):
        assert bytes_of(resources["requests"][name]) <= bytes_of(resources["limits"][name])


def test_a_runners_memory_holds_all_the_guests_it_accepts(objects):
    env = variables(objects, "runner")
    need = int(env["RUNNER_SANDBOX_MAX"]) * MEMORY_DEFAULT_MB * MIB
    need += int(env["RUNNER_SANDBOX_IDLE_MAX"]) * IDLE_SANDBOX_BYTES
    need += int(env["RUNNER_WORKERS"]) * WORKER_BYTES
    need += bytes_of(mounts(objects, "runner")["/tmp"]["emptyDir"]["sizeLimit"])  # in memory
    assert need <= bytes_of(container(workloads(objects)["runner"])["resources"]["limits"]["memory"])


def test_a_runner_starts_as_many_workers_as_it_has_cores(objects):
    cores = container(workloads(objects)["runner"])["resources"]["requests"]["cpu"]
    assert variables(objects, "runner")["RUNNER_WORKERS"] == cores


DRAIN_S = {
    "gateway": gateway_main._LINGER_S + gateway_server._DRAIN_MAX_S,
    "runner": KILL_AFTER_S,
    "compiler": PREPARE_MAX_S,
}


@pytest.mark.parametrize("role", DRAIN_S)
def test_what_is_under_way_may_finish_before_the_pod_is_killed(objects, role):
    deployment = workloads(objects)[role]
    waits_s = container(deployment).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    granted_s = pod(deployment)["spec"]["terminationGracePeriodSeconds"]
    assert waits_s + DRAIN_S[role] + CLOSING_S <= granted_s
    assert waits_s + gateway_main._LINGER_S * (role == "gateway") >= 5  # until balancers noticed


@pytest.mark.parametrize("role", ["runner", "compiler"])
def test_native_code_is_run_where_it_was_compiled_for(objects, role):
    wanted = pod(workloads(objects)[role])["spec"]["nodeSelector"]
    assert wanted == {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
