"""Who may speak to whom, asked of the NetworkPolicies as a cluster would evaluate them: a connection passes when an
egress rule of the one side and an ingress rule of the other allow it, and a pod that no policy selects is open.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network

import msgspec
import pytest

from shared.egress_addresses import ALLOWED_IPV6, DENIED_IPV4, DENIED_IPV6
from tests.deploy.manifests import OVERLAYS, ROLES, Object, of_kind, overlay, pod, ports, selects, workloads

OURS = "alga-extensions"
BACKING = {"kubernetes.io/metadata.name": "backing", "alga-extensions/backing-services": "true"}
INGRESS = {"kubernetes.io/metadata.name": "ingress", "alga-extensions/ingress": "true"}
STRANGERS = {"kubernetes.io/metadata.name": "strangers"}
PUBLIC_V4, PUBLIC_V6 = "93.184.215.14", "2606:2800:21f::1"


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """One end of a connection: a pod in a namespace, or an address outside of the cluster."""

    labels: dict[str, str] = {}
    namespace: dict[str, str] = {}
    ports: dict[str, int] = {}
    address: str = ""


class Cluster:
    """The policies of one overlay."""

    def __init__(self, objects: Sequence[Object]) -> None:
        self._policies = [found["spec"] for found in of_kind(objects, "NetworkPolicy").values()]
        (namespace,) = of_kind(objects, "Namespace").values()
        self._labels = {"kubernetes.io/metadata.name": OURS, **namespace["metadata"]["labels"]}
        self._workloads = workloads(objects)

    def pod(self, role: str) -> Peer:
        """One of ours."""
        found = self._workloads[role]
        return Peer(labels=pod(found)["metadata"]["labels"], namespace=self._labels, ports=ports(found))

    def allows(self, source: Peer, target: Peer, port: int, protocol: str = "TCP") -> bool:
        """Whether `source` may open a connection to `port` of `target`."""
        return self._side("egress", source, target, target, port, protocol) and self._side(
            "ingress", target, source, target, port, protocol
        )

    def _side(self, way: str, subject: Peer, other: Peer, target: Peer, port: int, protocol: str) -> bool:
        if subject.namespace != self._labels:
            return True  # not ours to decide
        ruling = [
            policy
            for policy in self._policies
            if way.capitalize() in policy["policyTypes"] and selects(policy["podSelector"], subject.labels)
        ]
        assert ruling, "a pod that no policy selects is open"
        field = "to" if way == "egress" else "from"
        return any(
            any(self._is(peer, other) for peer in rule.get(field, [{}]))
            and any(_has(wanted, target, port, protocol) for wanted in rule.get("ports", [{}]))
            for policy in ruling
            for rule in policy.get(way, [])
        )

    def _is(self, peer: Object, other: Peer) -> bool:
        assert set(peer) <= {"podSelector", "namespaceSelector", "ipBlock"}
        if not peer:
            return True
        if "ipBlock" in peer:
            return bool(other.address) and _inside(peer["ipBlock"], other.address)
        if other.address:
            return False
        in_namespace = (
            selects(peer["namespaceSelector"], other.namespace)
            if "namespaceSelector" in peer
            else other.namespace == self._labels
        )
        return in_namespace and selects(peer.get("podSelector", {}), other.labels)


def _inside(block: Object, text: str) -> bool:
    address = ip_address(text)
    if address not in ip_network(block["cidr"]):
        return False
    assert all(ip_network(inner).subnet_of(ip_network(block["cidr"])) for inner in block.get("except", []))
    return not any(address in ip_network(inner) for inner in block.get("except", []))


def _has(wanted: Object, target: Peer, port: int, protocol: str) -> bool:
    if not wanted:
        return True
    if wanted["protocol"] != protocol:
        return False
    first = target.ports.get(wanted["port"], -1) if isinstance(wanted["port"], str) else wanted["port"]
    return bool(first <= port <= wanted.get("endPort", first))


@pytest.fixture(params=OVERLAYS)
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """The policies of one overlay."""
    return Cluster(overlay(request.param))


OURS_AMONG_US = {
    ("gateway", "runner", 8080),
    ("gateway", "compiler", 8082),
    ("runner", "gateway", 8001),
    ("runner", "compiler", 8082),
    # The public listeners answer whoever may reach them; among us nobody needs to, and egress says so.
}
LISTENERS = [("gateway", 8000), ("gateway", 8001), ("runner", 8080), ("runner", 8081), ("compiler", 8082)]


def test_among_ourselves_only_these_speak(cluster):
    found = {
        (source, target, port)
        for source in ROLES
        for target, port in LISTENERS
        if cluster.allows(cluster.pod(source), cluster.pod(target), port)
    }
    assert found == OURS_AMONG_US


@pytest.mark.parametrize("port", [8001, 8080, 8082])
@pytest.mark.parametrize("namespace", [STRANGERS, INGRESS, BACKING])
def test_nobody_else_reaches_an_internal_listener(cluster, namespace, port):
    for role in ROLES:
        lookalike = Peer(labels=cluster.pod(role).labels, namespace=namespace)
        for target in ("gateway", "runner", "compiler"):
            assert not cluster.allows(lookalike, cluster.pod(target), port)
            assert not cluster.allows(Peer(address=PUBLIC_V4), cluster.pod(target), port)


def test_a_public_listener_answers_the_ingress(cluster):
    for role, port in (("gateway", 8000), ("runner", 8081)):
        assert cluster.allows(Peer(namespace=INGRESS), cluster.pod(role), port)


def test_in_production_only_the_ingress_reaches_a_public_listener():
    cluster = Cluster(overlay("production"))
    for role, port in (("gateway", 8000), ("runner", 8081)):
        assert not cluster.allows(Peer(namespace=STRANGERS), cluster.pod(role), port)
        assert not cluster.allows(Peer(address=PUBLIC_V4), cluster.pod(role), port)


BACKING_PORTS = {
    "gateway": {5432, 6432, 6379, 443, 8333, 9000},
    "runner": {6379, 443, 8333, 9000},
    "compiler": {443, 8333, 9000},
    "migrate": {5432},
}


@pytest.mark.parametrize("role", ROLES)
def test_each_role_reaches_the_servers_it_stands_on_and_no_other_namespace(cluster, role):
    tried = {22, 80, 2379, 6443, 8080, 10250, *BACKING_PORTS["gateway"]}
    ours = cluster.pod(role)
    assert {port for port in tried if cluster.allows(ours, Peer(namespace=BACKING), port)} == BACKING_PORTS[role]
    assert {port for port in tried if cluster.allows(ours, Peer(namespace=STRANGERS), port)} == set()


@pytest.mark.parametrize("role", ROLES)
def test_every_role_may_ask_for_names_and_nothing_else_of_the_system_namespace(cluster, role):
    system = {"kubernetes.io/metadata.name": "kube-system"}
    names = Peer(labels={"k8s-app": "kube-dns"}, namespace=system)
    assert cluster.allows(cluster.pod(role), names, 53, "UDP")
    assert cluster.allows(cluster.pod(role), names, 53, "TCP")
    assert not cluster.allows(cluster.pod(role), names, 9153)
    assert not cluster.allows(cluster.pod(role), Peer(labels={"k8s-app": "other"}, namespace=system), 53, "UDP")
    assert not cluster.allows(cluster.pod(role), Peer(labels={"k8s-app": "kube-dns"}, namespace=STRANGERS), 53, "UDP")


@pytest.mark.parametrize("address", [PUBLIC_V4, PUBLIC_V6])
def test_only_runners_reach_the_internet(cluster, address):
    reached = {
        role for role in ROLES if any(cluster.allows(cluster.pod(role), Peer(address=address), n) for n in (80, 443))
    }
    assert reached == {"runner"}
    assert cluster.allows(cluster.pod("runner"), Peer(address=address), 65535)
    assert not cluster.allows(cluster.pod("runner"), Peer(address=address), 443, "UDP")


DENIED = [*(network for network, _ in DENIED_IPV4), *(network for network, _ in DENIED_IPV6)]
NEVER_V6 = ["::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "fc00::1", "fd00:ec2::254", "fe80::1", "ff02::1", "4000::1"]


@pytest.mark.parametrize("network", DENIED, ids=str)
def test_an_address_that_guests_are_refused_is_closed_to_the_runner_as_well(cluster, network):
    for address in (network[0], network[-1]):
        assert not cluster.allows(cluster.pod("runner"), Peer(address=str(address)), 80)


@pytest.mark.parametrize("address", NEVER_V6)
def test_of_ipv6_only_the_global_unicast_space_is_open(cluster, address):
    assert ip_address(address) not in ALLOWED_IPV6
    assert not cluster.allows(cluster.pod("runner"), Peer(address=address), 80)


def test_what_is_next_to_a_closed_block_is_open(cluster):
    for address in ("9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "2003::1"):
        assert cluster.allows(cluster.pod("runner"), Peer(address=address), 443)


def test_managed_services_are_reached_by_those_who_need_them():
    cluster = Cluster(overlay("production"))
    reached = {
        role: {
            port for port in (80, 443, 5432, 6379) if cluster.allows(cluster.pod(role), Peer(address="192.0.2.7"), port)
        }
        for role in ROLES
    }
    assert reached == {"gateway": {443, 5432, 6379}, "runner": {443, 6379}, "compiler": {443}, "migrate": {5432}}


def test_without_the_policies_that_open_nobody_speaks():
    objects = overlay("minimal")
    closed = [
        found for found in objects if found["kind"] != "NetworkPolicy" or found["metadata"]["name"] == "default-deny"
    ]
    cluster = Cluster(closed)
    for source in ROLES:
        assert not cluster.allows(cluster.pod(source), Peer(address=PUBLIC_V4), 443)
        assert not any(cluster.allows(cluster.pod(source), cluster.pod(target), port) for target, port in LISTENERS)
