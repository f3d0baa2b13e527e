"""The pods in manifests, whatever kind they are wrapped in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple


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
