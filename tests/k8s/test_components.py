"""Each component can be put into an overlay and left out of it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.k8s.conftest import K8S, OVERLAYS, Manifest, components_of, kustomize, with_components
from tests.k8s.pods import daemon_of, ports_of, settings_of

COMPONENTS = sorted(file.parent.name for file in (K8S / "components").glob("*/kustomization.yaml"))
KINDS = {"monitoring": "PodMonitor", "network-policy": "NetworkPolicy", "network-policy-poller": "NetworkPolicy"}


WITH, WITHOUT = (
    [(overlay, each) for overlay in OVERLAYS for each in COMPONENTS if (each in components_of(overlay)) is there]
    for there in (False, True)
)


def test_there_are_components() -> None:
    assert COMPONENTS == ["monitoring", "network-policy", "network-policy-poller", "tls"]
    assert ("dev", "tls") in WITH
    assert ("statefulset", "tls") in WITHOUT


@pytest.mark.parametrize(("overlay", "component"), WITHOUT)
def test_an_overlay_does_without(overlay: str, component: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifests = with_components(
        overlay, [each for each in components_of(overlay) if each != component], tmp_path / "k8s"
    )
    assert KINDS.get(component) not in {manifest["kind"] for manifest in manifests}
    assert_probed_as_it_listens(manifests, tmp_path, monkeypatch)


@pytest.mark.parametrize(("overlay", "component"), WITH)
def test_an_overlay_takes_one_more(
    overlay: str, component: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = with_components(overlay, [*components_of(overlay), component], tmp_path / "k8s")
    if component == "tls":
        # It replaces the configuration of sidecars; these have others, so there is no more to it than that it builds.
        assert overlay in {"dev", "poller-only"}
    else:
        assert KINDS[component] in {manifest["kind"] for manifest in manifests}
        assert_probed_as_it_listens(manifests, tmp_path, monkeypatch)


def test_an_overlay_does_without_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifests = with_components("statefulset", [], tmp_path / "k8s")
    assert_probed_as_it_listens(manifests, tmp_path, monkeypatch)


def test_the_readmes_kustomization_takes_files_beside_the_configuration(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", (K8S / "README.md").read_text(), flags=re.DOTALL)
    shutil.copytree(K8S, tmp_path / "cdc-daemon" / "k8s")
    place = tmp_path / "ours"
    place.mkdir()
    (place / "kustomization.yaml").write_text(text)
    (generator,) = yaml.safe_load(text)["configMapGenerator"]
    for name in generator["files"]:
        (place / name).write_text(f"# {name} of ours")
    manifests = kustomize(place)
    (found,) = [each for each in manifests if (each["kind"], each["metadata"]["name"]) == ("ConfigMap", "cdc-daemon")]
    assert found["data"] == {name: f"# {name} of ours" for name in generator["files"]}
    daemon = daemon_of(manifests)
    mounted = {mount["name"]: mount["mountPath"] for mount in daemon["volumeMounts"]}
    assert {"name": "PYTHONPATH", "value": mounted["cdc-daemon-config"]} in daemon["env"]


def assert_probed_as_it_listens(manifests: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, daemon = settings_of(manifests, tmp_path, monkeypatch), daemon_of(manifests)
    probes = [daemon[probe]["httpGet"] for probe in ("livenessProbe", "readinessProbe") if probe in daemon]
    # The health port is plain, also with the component `tls`.
    assert {probe.get("scheme", "HTTP") for probe in probes} == {"HTTP"}
    assert {ports_of(daemon)[probe["port"]] for probe in probes} == {settings.http.health_port}
    if settings.http.tls is not None:
        assert settings.http.tls.certificate_file.exists()
        assert settings.http.tls.key_file.exists()
