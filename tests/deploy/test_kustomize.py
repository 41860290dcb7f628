"""The manifests of deploy/kustomize: they render, the API server's schemas accept them, and what refers to another
object finds it.
"""

from __future__ import annotations

import os
from pathlib import Path

import kubernetes_validate
import pytest

from shared.limits import RUNNER_RESOLVE_S
from tests.deploy.manifests import (
    KUSTOMIZE,
    OVERLAYS,
    ROLES,
    Object,
    bytes_of,
    container,
    every_string,
    of_kind,
    overlay,
    pod,
    port_number,
    render,
    selects,
    variables,
    workloads,
)

KUBERNETES = "1.30"  # the oldest we promise: `preStop.sleep` came with it
FOLDERS = ["base", *(f"overlays/{name}" for name in OVERLAYS)]
CLUSTER_WIDE = {"Namespace"}


@pytest.fixture(params=OVERLAYS)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    """What one overlay renders to."""
    return overlay(request.param)


def test_the_overlays_are_the_documented_ones():
    assert OVERLAYS == ("minimal", "production")


@pytest.mark.parametrize("version", [KUBERNETES, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("folder", FOLDERS)
def test_every_object_is_accepted_by_the_strict_schemas(folder, version):
    for found in render(KUSTOMIZE / folder):
        kubernetes_validate.validate(found, version, strict=True)


def test_the_schemas_notice_a_field_that_does_not_exist(objects):
    for workload in workloads(objects).values():
        pod(workload)["spec"]["containers"][0]["securityContxt"] = {}
        with pytest.raises(kubernetes_validate.ValidationError, match="securityContxt"):
            kubernetes_validate.validate(workload, KUBERNETES, strict=True)


def test_every_object_stands_in_the_one_namespace(objects):
    (namespace,) = of_kind(objects, "Namespace")
    assert {found["metadata"].get("namespace") for found in objects if found["kind"] not in CLUSTER_WIDE} == {namespace}


def test_every_role_is_there(objects):
    assert set(of_kind(objects, "Deployment")) == {"gateway", "runner", "compiler"}
    assert set(of_kind(objects, "Job")) == {"migrate"}
    assert [container(workloads(objects)[role])["name"] for role in ROLES] == list(ROLES)


def test_a_role_runs_what_it_is_called(objects):
    found = {role: container(workload) for role, workload in workloads(objects).items()}
    images = {role: one["image"].partition(":")[0] for role, one in found.items()}
    assert images == {
        "gateway": "alga-extensions-gateway",
        "migrate": "alga-extensions-gateway",
        "runner": "alga-extensions-runner",
        "compiler": "alga-extensions-runner",
    }
    assert "command" not in found["gateway"]
    assert found["migrate"]["command"] == ["python", "-m", "gateway.migrate"]
    assert found["runner"]["args"] == ["--role", "runner"]
    assert found["compiler"]["args"] == ["--role", "compiler"]


def test_an_image_has_a_plain_name_and_a_fixed_tag(objects):
    for workload in workloads(objects).values():
        name, _, tag = container(workload)["image"].partition(":")
        assert "/" not in name
        assert tag not in ("", "latest")


def test_a_deployment_selects_its_own_pods_and_no_others(objects):
    labels = {role: pod(workload)["metadata"]["labels"] for role, workload in workloads(objects).items()}
    for role, deployment in of_kind(objects, "Deployment").items():
        assert [other for other in labels if selects(deployment["spec"]["selector"], labels[other])] == [role]


SERVICES = {
    "gateway": ("gateway", "public", 8000),
    "gateway-internal": ("gateway", "internal", 8001),
    "runner-internal": ("runner", "internal", 8080),
    "runner-public": ("runner", "public", 8081),
    "compiler": ("compiler", "internal", 8082),
}


def test_a_service_leads_to_the_listener_it_is_named_for(objects):
    services = of_kind(objects, "Service")
    assert set(services) == set(SERVICES)
    deployments = of_kind(objects, "Deployment")
    for name, (role, port_name, number) in SERVICES.items():
        (port,) = services[name]["spec"]["ports"]
        chosen = [
            other
            for other, found in workloads(objects).items()
            if selects({"matchLabels": services[name]["spec"]["selector"]}, pod(found)["metadata"]["labels"])
        ]
        assert chosen == [role]
        assert port["name"] == port["targetPort"] == port_name
        assert port["port"] == port_number(deployments[role], port_name) == number


def test_the_gateway_sees_each_runner_by_itself(objects):
    services = of_kind(objects, "Service")
    headless = {name for name, service in services.items() if service["spec"].get("clusterIP") == "None"}
    assert headless == {"runner-internal"}
    assert variables(objects, "gateway")["RUNNER_BASE_URL"] == "http://runner-internal:8080"


@pytest.mark.parametrize(
    ("role", "variable", "service"),
    [
        ("gateway", "COMPILER_BASE_URL", "compiler"),
        ("runner", "COMPILER_BASE_URL", "compiler"),
        ("runner", "RUNNER_GATEWAY_URL", "gateway-internal"),
        ("gateway", "RUNNER_BASE_URL", "runner-internal"),
    ],
)
def test_services_address_each_other_by_names_that_exist(objects, role, variable, service):
    (port,) = of_kind(objects, "Service")[service]["spec"]["ports"]
    assert variables(objects, role)[variable] == f"http://{service}:{port['port']}"


@pytest.mark.parametrize(
    ("role", "variable", "port"),
    [
        ("gateway", "GATEWAY_BIND", "public"),
        ("gateway", "GATEWAY_INTERNAL_BIND", "internal"),
        ("runner", "RUNNER_BIND", "internal"),
        ("runner", "RUNNER_PUBLIC_BIND", "public"),
        ("compiler", "COMPILER_BIND", "internal"),
    ],
)
def test_a_listener_stands_where_its_port_is_declared(objects, role, variable, port):
    number = port_number(of_kind(objects, "Deployment")[role], port)
    assert variables(objects, role)[variable] == f"0.0.0.0:{number}"


def test_probes_ask_the_internal_listener(objects):
    for deployment in of_kind(objects, "Deployment").values():
        here = container(deployment)
        asked = {kind: here[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")}
        assert {kind: probe["port"] for kind, probe in asked.items()} == dict.fromkeys(asked, "internal")
        assert port_number(deployment, "internal")
        assert asked["readiness"]["path"] == "/readyz"
        assert asked["liveness"]["path"] == "/healthz"  # never a dependency: its outage must not restart us


def test_a_disruption_budget_stands_for_each_deployment(objects):
    budgets = of_kind(objects, "PodDisruptionBudget")
    assert set(budgets) == set(of_kind(objects, "Deployment"))
    for role, budget in budgets.items():
        assert selects(budget["spec"]["selector"], pod(workloads(objects)[role])["metadata"]["labels"])
        assert budget["spec"]["maxUnavailable"] == 1  # a minimum would stop every drain while there is one replica


def test_replicas_are_spread(objects):
    for role, deployment in of_kind(objects, "Deployment").items():
        spread = pod(deployment)["spec"]["topologySpreadConstraints"]
        assert "kubernetes.io/hostname" in {constraint["topologyKey"] for constraint in spread}
        for constraint in spread:
            assert selects(constraint["labelSelector"], pod(deployment)["metadata"]["labels"]), role


def test_an_autoscaler_owns_its_replicas():
    objects = overlay("production")
    scalers = of_kind(objects, "HorizontalPodAutoscaler")
    assert set(scalers) == {"gateway", "runner"}
    for name, scaler in scalers.items():
        assert scaler["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
        assert "replicas" not in of_kind(objects, "Deployment")[name]["spec"]  # each apply would undo its work
        assert 2 <= scaler["spec"]["minReplicas"] < scaler["spec"]["maxReplicas"]
        (metric,) = scaler["spec"]["metrics"]
        assert metric["containerResource"]["container"] == container(workloads(objects)[name])["name"]
    assert of_kind(objects, "Deployment")["compiler"]["spec"]["replicas"] == 2
    assert of_kind(overlay("minimal"), "HorizontalPodAutoscaler") == {}


def test_an_ingress_leads_to_public_listeners_only():
    objects = overlay("production")
    services = of_kind(objects, "Service")
    hosts = set()
    for ingress in of_kind(objects, "Ingress").values():
        (rule,) = ingress["spec"]["rules"]
        (path,) = rule["http"]["paths"]
        backend = path["backend"]["service"]
        assert [port["name"] for port in services[backend["name"]]["spec"]["ports"]] == ["public"]
        assert backend["port"] == {"name": "public"}
        assert ingress["spec"]["tls"][0]["hosts"] == [rule["host"]]
        hosts.add(rule["host"])
    assert variables(objects, "gateway")["RUNNER_PUBLIC_BASE"].removeprefix("https://") in hosts
    assert len(hosts) == 2  # an extension's page never shares an origin with the API


def test_the_migration_can_be_repeated_and_ends(objects):
    (job,) = of_kind(objects, "Job").values()
    assert pod(job)["spec"]["restartPolicy"] == "Never"
    assert job["spec"]["backoffLimit"] > 0
    assert job["spec"]["activeDeadlineSeconds"] > 0


def test_nothing_names_a_registry_or_holds_a_secret(objects):
    assert of_kind(objects, "Secret") == {}
    assert [text for text in every_string(objects) if "-----BEGIN" in text or "postgresql://" in text] == []


def test_a_runner_stays_until_every_gateway_has_forgotten_it(objects):
    deployment = of_kind(objects, "Deployment")["runner"]
    waits_s = container(deployment)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert waits_s > RUNNER_RESOLVE_S + 5  # the cluster's name server keeps an answer for 5 s by default


def test_the_cache_fits_its_volume(objects):
    (cache,) = (
        volume
        for volume in pod(of_kind(objects, "Deployment")["runner"])["spec"]["volumes"]
        if volume["name"] == "cache"
    )
    kept = int(variables(objects, "runner")["EXT_CACHE_MAX_BYTES"])
    downloads = 512 << 20
    assert kept + downloads <= bytes_of(cache["emptyDir"]["sizeLimit"])


def test_monitoring_can_be_added_to_an_overlay(tmp_path):
    place = tmp_path / "monitored"
    place.mkdir()
    relative = Path(os.path.relpath(KUSTOMIZE, place))
    place.joinpath("kustomization.yaml").write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: alga-extensions\n"
        f"resources: [{relative}/overlays/production]\ncomponents: [{relative}/components/monitoring]\n"
    )
    objects = render(place)
    (monitor,) = of_kind(objects, "ServiceMonitor").values()
    (endpoint,) = monitor["spec"]["endpoints"]
    scraped = {
        name
        for name, service in of_kind(objects, "Service").items()
        if selects(monitor["spec"]["selector"], service["metadata"]["labels"])
        and endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    }
    assert scraped == {"gateway-internal", "runner-internal", "compiler"}
    metrics = of_kind(objects, "HorizontalPodAutoscaler")["runner"]["spec"]["metrics"]
    assert [metric["type"] for metric in metrics] == ["ContainerResource", "Pods"]
    for found in objects:
        if found["kind"] != "ServiceMonitor":  # its schema belongs to the operator
            kubernetes_validate.validate(found, KUBERNETES, strict=True)
