"""Each component can be put into an overlay and left out of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tests.k8s.conftest import K8S, OVERLAYS, Manifest, kustomize
from tests.k8s.pods import daemon_of, ports_of, settings_of

COMPONENTS = sorted(file.parent.name for file in (K8S / "components").glob("*/kustomization.yaml"))
KINDS = {"monitoring": "PodMonitor", "network-policy": "NetworkPolicy"}


def listed(overlay: str) -> list[str]:
    """The components that an overlay has as it stands."""
    text = (K8S / "overlays" / overlay / "kustomization.yaml").read_text()
    return [Path(path).name for path in yaml.safe_load(text).get("components", [])]


WITH, WITHOUT = (
    [(overlay, each) for overlay in OVERLAYS for each in COMPONENTS if (each in listed(overlay)) is there]
    for there in (False, True)
)


def built(overlay: str, components: list[str], folder: Path) -> list[Manifest]:
    """An overlay with these components and no others."""
    shutil.copytree(K8S, folder, dirs_exist_ok=True)
    place = folder / "overlays" / overlay
    file = place / "kustomization.yaml"
    kustomization = yaml.safe_load(file.read_text())
    up = "../" * len(place.relative_to(folder).parts)
    kustomization["components"] = [f"{up}components/{each}" for each in components]
    file.write_text(yaml.safe_dump(kustomization))
    return kustomize(place)


def test_there_are_components() -> None:
    assert COMPONENTS == ["monitoring", "network-policy", "tls"]
    assert ("dev", "tls") in WITH
    assert ("statefulset", "tls") in WITHOUT


@pytest.mark.parametrize(("overlay", "component"), WITHOUT)
def test_an_overlay_does_without(overlay: str, component: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifests = built(overlay, [each for each in listed(overlay) if each != component], tmp_path / "k8s")
    assert KINDS.get(component) not in {manifest["kind"] for manifest in manifests}
    assert_probed_as_it_listens(manifests, tmp_path, monkeypatch)


@pytest.mark.parametrize(("overlay", "component"), WITH)
def test_an_overlay_takes_one_more(
    overlay: str, component: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = built(overlay, [*listed(overlay), component], tmp_path / "k8s")
    if component == "tls":
        # It replaces the configuration of sidecars; these have others, so there is no more to it than that it builds.
        assert overlay in {"dev", "poller-only"}
    else:
        assert KINDS[component] in {manifest["kind"] for manifest in manifests}
        assert_probed_as_it_listens(manifests, tmp_path, monkeypatch)


def test_an_overlay_does_without_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifests = built("statefulset", [], tmp_path / "k8s")
    assert_probed_as_it_listens(manifests, tmp_path, monkeypatch)


def assert_probed_as_it_listens(manifests: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, daemon = settings_of(manifests, tmp_path, monkeypatch), daemon_of(manifests)
    probes = [daemon[probe]["httpGet"] for probe in ("livenessProbe", "readinessProbe") if probe in daemon]
    # The health port is plain, also with the component `tls`.
    assert {probe.get("scheme", "HTTP") for probe in probes} == {"HTTP"}
    assert {ports_of(daemon)[probe["port"]] for probe in probes} == {settings.http.health_port}
    if settings.http.tls is not None:
        assert settings.http.tls.certificate_file.exists()
        assert settings.http.tls.key_file.exists()
