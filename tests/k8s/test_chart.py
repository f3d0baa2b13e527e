"""The Helm chart, rendered by helm: against schemas, and beside the overlays."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from cdc_daemon import __version__
from cdc_daemon.config import load
from sandbox.wheels import HELM, find_wheel_program
from tests.k8s.conftest import CHECKOUT, K8S, Build, Manifest
from tests.k8s.kinds import NEWEST, SCHEMAS
from tests.k8s.pods import daemon_of, pods, settings_of

CHART = K8S / "chart"
CASES = sorted(file.name.removesuffix("-values.yaml") for file in (CHART / "ci").glob("*-values.yaml"))
SCHEMA = jsonschema.Draft202012Validator(json.loads((CHART / "values.schema.json").read_text()))
PAIRS = {
    "poller": "poller-only",
    "sidecar-statefulset": "statefulset",
    "sidecar-datacenter": "cass-operator/datacenter",
    "sidecar-k8ssandra": "cass-operator/cluster",
}
"""Values files and the overlays that have the same inputs."""


def helm(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([find_wheel_program(HELM), *words], capture_output=True, text=True, check=False, timeout=300)


def values_file(case: str) -> Path:
    return CHART / "ci" / f"{case}-values.yaml"


@cache
def rendered(case: str, *words: str) -> list[Manifest]:
    """Render the chart with one of its values files."""
    result = helm(
        "template", "cdc-daemon", str(CHART), "--namespace", "cassandra", "--values", str(values_file(case)), *words
    )
    assert result.returncode == 0, result.stderr
    return [each for each in yaml.safe_load_all(result.stdout) if each]


def refusal(case: str, *words: str) -> str:
    result = helm("template", "cdc-daemon", str(CHART), "--values", str(values_file(case)), *words)
    assert result.returncode != 0
    return result.stderr


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = [each for each in manifests if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def without_helms_labels(value: Any) -> Any:
    """Return a copy without what may differ: the labels that charts have, and the namespace."""
    if isinstance(value, dict):
        kept = {
            key: without_helms_labels(inner)
            for key, inner in value.items()
            if key not in {"app.kubernetes.io/instance", "app.kubernetes.io/version", "helm.sh/chart", "namespace"}
            and (key, inner) not in [("app.kubernetes.io/name", "cdc-daemon"), ("app.kubernetes.io/managed-by", "Helm")]
        }
        return {key: inner for key, inner in kept.items() if not (key == "labels" and inner == {})}
    if isinstance(value, list):
        return [without_helms_labels(each) for each in value]
    return value


def normal(manifest: Manifest) -> Manifest:
    """Return a manifest as it is compared with the other way of making it."""
    found: Manifest = without_helms_labels(json.loads(json.dumps(manifest, default=str)))
    for name, text in found.get("data", {}).items():
        if name.endswith(".yaml"):
            found["data"][name] = yaml.safe_load(text)
        elif name == "logback.xml":
            found["data"][name] = text.strip()
    for pod in pods([found]):
        for part in ("volumes", "initContainers", "containers"):
            pod.spec.get(part, []).sort(key=lambda each: str(each["name"]))
            for container in pod.spec.get(part, []) if part != "volumes" else []:
                for key in ("env", "volumeMounts"):
                    container.get(key, []).sort(key=str)
        for volume in pod.spec["volumes"]:
            sources = volume.get("projected", {}).get("sources", [])
            merged: dict[str, list[Any]] = {}
            for source in sources:
                merged.setdefault(source["secret"]["name"], []).extend(source["secret"]["items"])
                assert source["secret"]["optional"] is True
            if sources:
                volume["projected"]["sources"] = merged
    return found


def is_hook(manifest: Manifest) -> bool:
    return "helm.sh/hook" in manifest["metadata"].get("annotations", {})


def test_there_are_a_dozen_values_files() -> None:
    assert len(CASES) >= 12
    assert {*PAIRS, "sunbird-spark", "sidecar-cassandra-4.1", "sidecar-bitnami"} <= set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_helm_finds_nothing_to_say_about_it(case: str) -> None:
    result = helm("lint", "--strict", str(CHART), "--values", str(values_file(case)))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("case", CASES)
def test_what_it_renders_fits_the_schemas(case: str) -> None:
    manifests = rendered(case)
    for manifest in manifests:
        if manifest["kind"] in SCHEMAS:
            SCHEMAS[manifest["kind"]].validate(manifest)
        else:
            kubernetes_validate.validate(manifest, NEWEST[-1], strict=True)
    for pod in pods(manifests):
        template = {"metadata": {"labels": pod.labels}, "spec": pod.spec}
        wrapped = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": template}
        kubernetes_validate.validate(wrapped, NEWEST[-1], strict=True)


@pytest.mark.parametrize("case", sorted(set(CASES) - {"poller-own-config", "sidecar-bitnami", "sidecar-monitoring"}))
def test_the_daemon_understands_its_configuration(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifests = rendered(case)
    for name, text in named(manifests, "ConfigMap", "cdc-daemon")["data"].items():
        (tmp_path / name).write_text(text)
    settings = settings_of(manifests, tmp_path, monkeypatch)
    probe = daemon_of(manifests)["livenessProbe"]["httpGet"]["port"]
    ports = {port["name"]: port["containerPort"] for port in daemon_of(manifests)["ports"]}
    assert ports[probe] == settings.http.health_port
    assert ports["cdc-http"] == settings.http.port


@pytest.mark.parametrize(("case", "overlay"), PAIRS.items())
def test_it_makes_what_the_overlay_makes(case: str, overlay: str, build: Build) -> None:
    chart = {(each["kind"], each["metadata"]["name"]): normal(each) for each in rendered(case) if not is_hook(each)}
    kustomize = {(each["kind"], each["metadata"]["name"]): normal(each) for each in build(overlay)}
    ours = {("Namespace", "cassandra"), ("Namespace", "cdc-daemon"), ("PodTemplate", "cdc-daemon")}
    ours |= {("Service", "cassandra"), ("PodDisruptionBudget", "cassandra")}
    assert chart.keys() == kustomize.keys() - ours
    for key, manifest in chart.items():
        assert manifest == kustomize[key], key


def test_the_monitoring_is_the_components(build: Build) -> None:
    chart, overlay = rendered("sidecar-monitoring"), build("statefulset+monitoring")
    for kind, name in (("PrometheusRule", "cdc-daemon"), ("ConfigMap", "cdc-daemon-dashboard")):
        ours, theirs = named(chart, kind, name), named(overlay, kind, name)
        assert ours.get("spec") == theirs.get("spec")
        assert {key: json.loads(text) for key, text in ours.get("data", {}).items()} == {
            key: json.loads(text) for key, text in theirs.get("data", {}).items()
        }
    endpoint = named(chart, "PodMonitor", "cdc-daemon")["spec"]["podMetricsEndpoints"]
    assert endpoint == named(overlay, "PodMonitor", "cdc-daemon")["spec"]["podMetricsEndpoints"]


def test_both_files_have_one_size_of_cdc_raw() -> None:
    for case in ("sidecar-cassandra-4.1", "sidecar-statefulset"):
        manifests = rendered(case, "--set", "cdcRaw.totalSpace=12GiB")
        ours = yaml.safe_load(named(manifests, "ConfigMap", "cdc-daemon")["data"]["config.yaml"])
        theirs = yaml.safe_load(named(manifests, "ConfigMap", "cassandra")["data"]["cassandra.yaml"])
        assert ours["commit_log"]["cdc_total_space"] == theirs["cdc_total_space"] == "12GiB"


def test_the_bitnami_chart_gets_a_sidecar_of_its_user() -> None:
    handed = yaml.safe_load(
        named(rendered("sidecar-bitnami"), "ConfigMap", "cdc-daemon-bitnami")["data"]["values.yaml"]
    )
    (container,) = handed["initContainers"]
    assert container["restartPolicy"] == "Always"
    assert container["securityContext"]["runAsUser"] == container["securityContext"]["runAsGroup"] == 1001
    assert {"name": "data", "mountPath": "/bitnami/cassandra/data/cdc_raw", "subPath": "data/cdc_raw"} in container[
        "volumeMounts"
    ]
    assert handed["podLabels"] == {"cdc-daemon": "sidecar"}
    assert {"name": "CASSANDRA_CFG_YAML_CDC_ENABLED", "value": "true"} in handed["extraEnvVars"]


def test_pollers_find_each_other() -> None:
    manifests = rendered("poller-replicas")
    config = yaml.safe_load(named(manifests, "ConfigMap", "cdc-daemon")["data"]["config.yaml"])
    (address,) = config["peers"]["addresses"]
    service = named(manifests, "Service", address)
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    workload = named(manifests, "StatefulSet", "cdc-daemon")
    assert service["spec"]["selector"].items() <= workload["spec"]["template"]["metadata"]["labels"].items()
    assert workload["spec"]["serviceName"] == address
    rules = named(manifests, "NetworkPolicy", "cdc-daemon-poller")["spec"]
    for direction in ("ingress", "egress"):
        assert config["peers"]["port"] in {port["port"] for rule in rules[direction] for port in rule["ports"]}


def test_sunbirds_values_are_its_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUNBIRD_INDICES", "full")
    theirs = load(CHECKOUT / "config.sunbird-spark.yaml")
    config = named(rendered("sunbird-spark"), "ConfigMap", "cdc-daemon")["data"]
    ours = yaml.safe_load(config["config.yaml"])
    assert set(ours["mappings"]) == set(theirs.mappings)
    assert [entry["table"] for entry in ours["poll"]] == [str(entry.table) for entry in theirs.poll]
    for name, text in config.items():
        if name != "config.yaml":
            folder = CHECKOUT / "examples" / "sunbird"
            assert text == (folder / name if name == "names.yaml" else folder / "full" / name).read_text()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--set", "replicas=2"), "set kind to StatefulSet"),
        (("--set", "replicas=2,peers.enabled=false"), "set peers.enabled"),
        (("--set", "replicas=2,secrets.tokens.name="), "replicas sign their messages"),
        (("--set", "mode=both"), "/mode"),
        (("--set", "config.elasticserach.hosts={x}"), "elasticserach"),
        (("--set", "config.http.port=8080"), "/config/http/port"),
        (("--set", "config.state.directory=/x"), "/config/state/directory"),
        (("--set", "image.digest=latest"), "/image/digest"),
        (("--set", "http.prot=1"), "prot"),
    ],
)
def test_wrong_values_are_refused(words: tuple[str, ...], expected: str) -> None:
    assert expected in refusal("poller", *words)


def test_the_default_values_fit_and_wait_for_a_configuration() -> None:
    SCHEMA.validate(yaml.safe_load((CHART / "values.yaml").read_text()))
    result = helm("template", "cdc-daemon", str(CHART))
    assert result.returncode == 0, result.stderr
    assert "ConfigMap" not in {each["kind"] for each in yaml.safe_load_all(result.stdout) if each}


def test_the_readmes_commands_name_what_is_there() -> None:
    for page in (K8S / "README.md", CHART / "README.md", CHECKOUT / "docs" / "sunbird.md"):
        for word in page.read_text().split():
            if word.startswith("k8s/chart/"):
                assert (CHECKOUT / word.strip("`.,:")).exists(), f"{word} in {page.name}"


def test_the_chart_is_packaged_with_this_version(tmp_path: Path) -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == __version__
    result = helm("package", str(CHART), "--destination", str(tmp_path))
    assert result.returncode == 0, result.stderr
    (package,) = tmp_path.iterdir()
    assert helm("lint", str(package)).returncode == 0
