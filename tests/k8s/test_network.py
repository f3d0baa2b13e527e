"""The traffic that the network policies allow by the rules of Kubernetes, for each overlay that has them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.k8s.conftest import OVERLAYS, Build, Manifest
from tests.k8s.pods import daemon_of, daemon_pod, ports_of

SIDECARS = ["cass-operator/cluster", "cass-operator/datacenter", "statefulset"]
GUARDED = [*SIDECARS, "poller-only"]


@dataclass(frozen=True)
class Peer:
    """A pod somewhere in the cluster; without a namespace it is an address outside."""

    namespace: str | None
    labels: dict[str, str] = field(default_factory=dict)


OUTSIDE = Peer(None)
ANYBODY = Peer("elsewhere", {"app": "anybody"})
CLIENT = Peer("elsewhere", {"cdc-daemon-client": "true"})
PROMETHEUS = Peer("monitoring", {"app.kubernetes.io/name": "prometheus"})
ELASTICSEARCH = Peer("search", {"common.k8s.elastic.co/type": "elasticsearch"})
OPERATORS = {
    "cass-operator by Helm": Peer("operators", {"app.kubernetes.io/name": "cass-operator"}),
    "cass-operator by kustomize": Peer("operators", {"name": "cass-operator", "control-plane": "controller-manager"}),
    "k8ssandra-operator": Peer("operators", {"control-plane": "k8ssandra-operator"}),
}


def matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    assert set(selector) <= {"matchLabels"}
    return bool(selector.get("matchLabels", {}).items() <= labels.items())


def is_meant(rule_peer: dict[str, Any], peer: Peer, own_namespace: str) -> bool:
    """Whether one entry of `from` or `to` means a peer: without a namespaceSelector it is of the policy's namespace."""
    assert set(rule_peer) <= {"podSelector", "namespaceSelector"}
    if peer.namespace is None:
        return False
    if "namespaceSelector" in rule_peer:
        of_namespace = {"kubernetes.io/metadata.name": peer.namespace}
        if not matches(rule_peer["namespaceSelector"], of_namespace):
            return False
    elif peer.namespace != own_namespace:
        return False
    return matches(rule_peer.get("podSelector", {}), peer.labels)


def lets(manifests: list[Manifest], direction: str, peer: Peer, port: int, protocol: str = "TCP") -> bool:
    """Whether the daemon's pod may be reached by a peer (`Ingress`), or reach it (`Egress`)."""
    pod = daemon_pod(manifests)
    found = [
        each
        for each in manifests
        if each["kind"] == "NetworkPolicy"
        and direction in each["spec"]["policyTypes"]
        and matches(each["spec"]["podSelector"], pod.labels)
    ]
    assert found, "no policy selects the pod"
    side = {"Ingress": "from", "Egress": "to"}[direction]
    return any(
        {"port": port, "protocol": protocol} in rule["ports"]
        and (side not in rule or any(is_meant(each, peer, policy["metadata"]["namespace"]) for each in rule[side]))
        for policy in found
        for rule in policy["spec"][direction.lower()]
    )


def node_of(manifests: list[Manifest]) -> Peer:
    """Another node of the same Cassandra."""
    (namespace,) = {each["metadata"]["namespace"] for each in manifests if each["kind"] == "NetworkPolicy"}
    return Peer(namespace, daemon_pod(manifests).labels)


def test_the_overlays_with_policies_are_these(build: Build) -> None:
    guarded = [each for each in OVERLAYS if any(one["kind"] == "NetworkPolicy" for one in build(each))]
    assert sorted(guarded) == sorted(GUARDED)


@pytest.mark.parametrize("overlay", GUARDED)
def test_the_daemon_is_asked_by_prometheus_and_clients_alone(overlay: str, build: Build) -> None:
    manifests = build(overlay)
    # Probes come from the pod's own machine, which Kubernetes lets in whatever a policy says.
    ports = ports_of(daemon_of(manifests))
    health, requests = ports["cdc-health"], ports["cdc-http"]
    assert lets(manifests, "Ingress", PROMETHEUS, health)
    assert not lets(manifests, "Ingress", PROMETHEUS, requests)
    assert lets(manifests, "Ingress", CLIENT, requests)
    assert not lets(manifests, "Ingress", CLIENT, health)
    for stranger in (ANYBODY, OUTSIDE, ELASTICSEARCH):
        for port in ports.values():
            assert not lets(manifests, "Ingress", stranger, port)


@pytest.mark.parametrize("overlay", GUARDED)
def test_the_daemon_reaches_names_cassandra_and_elasticsearch_and_nothing_else(overlay: str, build: Build) -> None:
    manifests = build(overlay)
    for protocol in ("UDP", "TCP"):
        assert lets(manifests, "Egress", OUTSIDE, 53, protocol)
    assert lets(manifests, "Egress", ELASTICSEARCH, 9200)
    assert not lets(manifests, "Egress", ANYBODY, 9200)
    assert not lets(manifests, "Egress", OUTSIDE, 443)
    cassandra = OUTSIDE if overlay == "poller-only" else node_of(manifests)
    for port in (9042, 9142):
        assert lets(manifests, "Egress", cassandra, port)


@pytest.mark.parametrize("overlay", SIDECARS)
def test_cassandra_speaks_with_its_nodes_and_is_asked_by_everybody(overlay: str, build: Build) -> None:
    manifests = build(overlay)
    for port in (7000, 7001, 9810):
        for direction in ("Ingress", "Egress"):
            assert lets(manifests, direction, node_of(manifests), port)
            assert not lets(manifests, direction, ANYBODY, port)
    for client in (ANYBODY, CLIENT, OUTSIDE):
        assert lets(manifests, "Ingress", client, 9042)
    for port in (9000, 9103):
        assert lets(manifests, "Ingress", PROMETHEUS, port)
        assert not lets(manifests, "Ingress", ANYBODY, port)


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
@pytest.mark.parametrize("overlay", SIDECARS)
def test_an_operator_reaches_the_management_api(overlay: str, operator: Peer, build: Build) -> None:
    for port in (8080, 50051):
        assert lets(build(overlay), "Ingress", operator, port)
        assert not lets(build(overlay), "Ingress", ANYBODY, port)
