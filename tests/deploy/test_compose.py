"""deploy/compose.yaml: every name in it leads somewhere, our services are as locked up as in a cluster, and who shares no
network cannot talk.
"""

from __future__ import annotations

import itertools

import pytest

from tests.deploy import dockerfile
from tests.deploy.compose_file import CREDENTIALS, document, service
from tests.deploy.manifests import ROLES, ROOT, container, overlay, pod, workloads

SERVERS = ("postgres", "redis", "s3")


def seconds(text: str) -> int:
    assert text.endswith("s")
    return int(text[:-1])


def test_the_services_are_the_roles_and_what_they_stand_on():
    assert set(document()["services"]) == {*ROLES, *SERVERS}


@pytest.mark.parametrize("role", ROLES)
def test_our_services_are_built_from_the_one_dockerfile(role):
    build = service(role)["build"]
    assert (ROOT / "deploy" / build["context"]).resolve() == ROOT
    assert ROOT / build["dockerfile"] == dockerfile.PATH
    assert build["target"] == role
    assert role in dockerfile.stages()


@pytest.mark.parametrize("name", [*ROLES, *SERVERS])
def test_an_image_has_a_plain_name_and_a_fixed_tag(name):
    image, _, tag = service(name)["image"].partition(":")
    assert "." not in image.partition("/")[0]  # a first part with a dot is a registry's host
    assert tag not in ("", "latest")


@pytest.mark.parametrize("role", ROLES)
def test_our_services_are_locked_up(role):
    found = service(role)
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "user"} & set(found)
    assert all(place.startswith("/tmp:") for place in found["tmpfs"])
    assert "mem_limit" in found


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_gains_no_privileges_and_says_when_it_is_ready(name):
    assert service(name)["security_opt"] == ["no-new-privileges:true"]
    assert service(name)["healthcheck"]["test"]


MAY_SPEAK = {
    frozenset(pair)
    for pair in (
        ("gateway", "postgres"),
        ("migrate", "postgres"),
        ("gateway", "redis"),
        ("runner", "redis"),
        ("gateway", "s3"),
        ("runner", "s3"),
        ("compiler", "s3"),
        ("gateway", "runner"),
        ("gateway", "compiler"),
        ("runner", "compiler"),
        ("gateway", "migrate"),  # both ask the database; the job listens to nobody
    )
}


def test_only_these_share_a_network():
    names = document()["services"]
    found = {
        frozenset((one, other))
        for one, other in itertools.combinations(names, 2)
        if set(service(one)["networks"]) & set(service(other)["networks"])
    }
    assert found == MAY_SPEAK


def test_only_gateway_and_runner_reach_the_outside():
    networks = document()["networks"]
    outside = {name for name, network in networks.items() if not (network or {}).get("internal")}
    assert outside == {"outside"}
    assert {name for name in document()["services"] if outside & set(service(name)["networks"])} == {
        "gateway",
        "runner",
    }


def test_public_listeners_are_published_on_loopback_and_nothing_else_is():
    published = {name: service(name).get("ports", []) for name in document()["services"]}
    assert {name: ports for name, ports in published.items() if ports} == {
        "gateway": ["127.0.0.1:8000:8000"],
        "runner": ["127.0.0.1:8081:8081"],
    }


def test_every_secret_is_a_file_of_the_credentials_and_is_used():
    files = document()["secrets"]
    assert all(one["file"].startswith(f"{CREDENTIALS}/") for one in files.values())
    used = [secret["source"] for name in document()["services"] for secret in service(name).get("secrets", [])]
    assert sorted(used) == sorted(files)  # each by one service only


def test_every_network_and_volume_is_declared_and_used():
    services = [service(name) for name in document()["services"]]
    assert {name for one in services for name in one["networks"]} == set(document()["networks"])
    mounted = {volume["source"] for one in services for volume in one.get("volumes", []) if volume["type"] == "volume"}
    assert mounted == set(document()["volumes"])


def test_the_gateway_starts_after_the_migrations_and_they_after_the_database():
    assert service("gateway")["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert service("migrate")["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert service("migrate")["restart"] == "no"


@pytest.mark.parametrize("role", ["gateway", "runner", "compiler"])
def test_a_service_has_as_long_to_finish_as_in_a_cluster(role):
    deployment = workloads(overlay("minimal"))[role]
    grace_s = pod(deployment)["spec"]["terminationGracePeriodSeconds"]
    assert seconds(service(role)["stop_grace_period"]) == grace_s
    assert container(deployment)["name"] == role


def test_what_is_kept_in_files_stands_where_git_does_not_look():
    folder = (ROOT / "deploy" / CREDENTIALS).resolve().relative_to(ROOT)
    assert f"{folder.parts[0]}/" in (ROOT / ".gitignore").read_text().splitlines()
