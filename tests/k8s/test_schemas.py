"""Manifests against the schemas of Kubernetes and of the operators' own kinds."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from tests.k8s.conftest import MONITORED, OVERLAYS, Build, Manifest
from tests.k8s.kinds import NEWEST, SCHEMAS
from tests.k8s.pods import pods


def test_there_are_overlays() -> None:
    assert OVERLAYS == ["cass-operator/cluster", "cass-operator/datacenter", "dev", "poller-only", "statefulset"]


@pytest.mark.parametrize("version", NEWEST)
def test_what_is_kubernetes_own_fits_its_schema(version: str, manifests: list[Manifest]) -> None:
    for manifest in manifests:
        if manifest["kind"] not in SCHEMAS:
            assert kubernetes_validate.validate(manifest, version, strict=True) == version


@pytest.mark.parametrize("version", NEWEST)
def test_pods_in_the_operators_kinds_fit_kubernetes_schema(version: str, manifests: list[Manifest]) -> None:
    for pod in pods(manifests):
        template = {"metadata": {"labels": pod.labels}, "spec": pod.spec}
        wrapped = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": template}
        kubernetes_validate.validate(wrapped, version, strict=True)


def test_the_operators_kinds_fit_theirs(manifests: list[Manifest]) -> None:
    for manifest in manifests:
        if manifest["kind"] in SCHEMAS:
            SCHEMAS[manifest["kind"]].validate(manifest)


def test_each_schema_is_used(build: Build) -> None:
    kinds = {manifest["kind"] for overlay in (*OVERLAYS, *MONITORED) for manifest in build(overlay)}
    assert set(SCHEMAS) <= kinds


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("CassandraDatacenter", ("spec", "siez"), 3),
        ("K8ssandraCluster", ("spec", "cassandra", "podTemplateSpec"), {}),
        ("PodMonitor", ("spec", "podMetricsEndpoints", 0, "interval"), "often"),
        ("PrometheusRule", ("spec", "groups", 0, "rules", 0, "labels"), {"severity": 1}),
    ],
)
def test_the_schemas_find_mistakes(kind: str, path: tuple[Any, ...], value: Any, build: Build) -> None:
    found = (each for overlay in (*OVERLAYS, *MONITORED) for each in build(overlay) if each["kind"] == kind)
    manifest = json.loads(json.dumps(next(found)))
    place = manifest
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        SCHEMAS[kind].validate(manifest)


def test_the_validator_finds_mistakes(build: Build) -> None:
    manifest = json.loads(json.dumps(next(each for each in build("dev") if each["kind"] == "StatefulSet")))
    manifest["spec"]["template"]["spec"]["initContainers"][0]["restartPolicie"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, NEWEST[-1], strict=True)
