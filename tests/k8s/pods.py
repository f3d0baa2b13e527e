"""The pods in manifests, whatever kind they are wrapped in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cdc_daemon.config import Settings, load
from tests.k8s.conftest import Manifest


class Pod(NamedTuple):
    """A pod's labels and specification, and what they are of."""

    owner: str
    labels: dict[str, str]
    spec: dict[str, Any]

    @property
    def containers(self) -> list[dict[str, Any]]:
        """Every container, those first that are started first."""
        return [*self.spec.get("initContainers", []), *self.spec.get("containers", [])]

    @property
    def daemon(self) -> dict[str, Any] | None:
        """The daemon's container."""
        return next((each for each in self.containers if each["name"] == "cdc-daemon"), None)


def pods(manifests: list[dict[str, Any]]) -> Iterator[Pod]:
    """Return each pod that the manifests make."""
    for manifest in manifests:
        kind, spec = manifest["kind"], manifest.get("spec", {})
        if kind in {"StatefulSet", "Deployment"}:
            yield _pod(kind, spec["template"])
        elif kind == "CassandraDatacenter":
            yield _pod(kind, spec["podTemplateSpec"])
        elif kind == "K8ssandraCluster":
            cassandra = spec["cassandra"]
            yield Pod(
                kind,
                cassandra["metadata"]["pods"]["labels"],
                {
                    "initContainers": cassandra["initContainers"],
                    "containers": [],
                    "volumes": cassandra["extraVolumes"]["volumes"],
                    "securityContext": cassandra["podSecurityContext"],
                },
            )


def _pod(owner: str, template: dict[str, Any]) -> Pod:
    return Pod(owner, template["metadata"]["labels"], template["spec"])


def daemon_pod(manifests: list[Manifest]) -> Pod:
    (pod,) = [pod for pod in pods(manifests) if pod.daemon is not None]
    return pod


def daemon_of(manifests: list[Manifest]) -> dict[str, Any]:
    daemon = daemon_pod(manifests).daemon
    assert daemon is not None
    return daemon


def ports_of(daemon: dict[str, Any]) -> dict[str, int]:
    """The numbers of a container's ports by their names."""
    return {port["name"]: port["containerPort"] for port in daemon["ports"]}


def settings_of(manifests: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The daemon's configuration as its container would understand it, with the files of its secrets."""
    (text,) = [each["data"]["config.yaml"] for each in manifests if "config.yaml" in each.get("data", {})]
    pod, daemon = daemon_pod(manifests), daemon_of(manifests)
    for variable in daemon["env"]:
        monkeypatch.setenv(variable["name"], variable.get("value", "filled-in"))
    volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
    for mount in daemon["volumeMounts"]:
        for source in volumes.get(mount["name"], {}).get("projected", {}).get("sources", []):
            for item in source["secret"]["items"]:
                file = tmp_path / mount["mountPath"].lstrip("/") / item["path"]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text("0123456789abcdef0123456789abcdef")
    config = tmp_path / "config.yaml"
    config.write_text(text.replace("/run/secrets/", f"{tmp_path}/run/secrets/"))
    return load(config)
