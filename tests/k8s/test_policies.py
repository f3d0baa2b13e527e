"""Rules for every manifest, in each overlay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

from cdc_daemon import __version__
from cdc_daemon.cassandra.node import NodeSettings
from tests.k8s.conftest import K8S, OVERLAYS, Build, Manifest
from tests.k8s.pods import daemon_of, daemon_pod, pods, ports_of, settings_of

OPERATORS = ["cass-operator/cluster", "cass-operator/datacenter"]
SIDECARS = [*OPERATORS, "statefulset", "dev"]
STATE, LOG = "/var/lib/cdc-daemon", "/var/lib/cassandra/cdc_raw"


def texts(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, however deep."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key), inner
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


def test_nobody_is_root_and_nobody_can_become_more(manifests: list[Manifest]) -> None:
    found = list(pods(manifests))
    assert found
    for pod in found:
        context = pod.spec["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod.containers:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False
            assert own["capabilities"] == {"drop": ["ALL"]}
            assert "privileged" not in own
            assert "runAsUser" not in own
        for name in ("hostNetwork", "hostPID", "hostIPC"):
            assert name not in pod.spec
        assert not [volume for volume in pod.spec["volumes"] if "hostPath" in volume]


def test_memory_is_limited_and_cpu_is_not(manifests: list[Manifest]) -> None:
    for pod in pods(manifests):
        for container in pod.containers:
            resources = container["resources"]
            assert set(resources["limits"]) == {"memory"}
            assert set(resources["requests"]) == {"cpu", "memory"}


def test_everything_is_probed(manifests: list[Manifest]) -> None:
    for pod in pods(manifests):
        for container in pod.containers:
            assert "livenessProbe" in container


def test_the_daemon_writes_nowhere_but_in_its_volumes(manifests: list[Manifest]) -> None:
    daemon = daemon_of(manifests)
    assert daemon["securityContext"]["readOnlyRootFilesystem"] is True
    writable = {mount["mountPath"] for mount in daemon["volumeMounts"] if not mount.get("readOnly")}
    assert writable <= {STATE, LOG, "/tmp"}


def test_the_daemon_is_the_released_one(manifests: list[Manifest]) -> None:
    assert daemon_of(manifests)["image"] == f"cdc-daemon:{__version__}"


def test_no_image_is_whatever_is_newest(manifests: list[Manifest]) -> None:
    for pod in pods(manifests):
        for container in pod.containers:
            if "image" in container:
                assert container["image"].rpartition(":")[2] not in {"", "latest"}
                assert ":" in container["image"]


def test_secrets_are_referred_to_and_never_written_down(manifests: list[Manifest]) -> None:
    assert "Secret" not in {manifest["kind"] for manifest in manifests}
    for pod in pods(manifests):
        for container in pod.containers:
            for variable in container.get("env", []):
                if any(word in variable["name"].lower() for word in ("password", "token", "secret", "key")):
                    assert "value" not in variable or variable["name"].endswith("_FILE")
        for volume in pod.spec["volumes"]:
            if "projected" in volume:
                assert volume["projected"]["defaultMode"] == 0o440
    settings = [manifest for manifest in manifests if manifest["kind"] == "ConfigMap"]
    for manifest in settings:
        for name, text in manifest["data"].items():
            if name.endswith(".yaml"):
                for key, value in texts(yaml.safe_load(text)):
                    if key in {"password", "api_key", "hash", "keystore_password", "key_password"}:
                        assert str(value).startswith("${"), f"{key} in {name}"


def test_no_overlay_needs_kinds_that_a_cluster_may_lack(build: Build) -> None:
    for overlay in OVERLAYS:
        groups = {each["apiVersion"].partition("/")[0] for each in build(overlay)}
        assert "monitoring.coreos.com" not in groups
        if overlay not in OPERATORS:
            assert groups <= {"v1", "apps", "policy", "networking.k8s.io"}


def test_policies_select_pods_that_are_there(manifests: list[Manifest]) -> None:
    labels = [pod.labels for pod in pods(manifests)]
    for manifest in manifests:
        if manifest["kind"] == "NetworkPolicy":
            wanted = manifest["spec"]["podSelector"]["matchLabels"]
            assert any(wanted.items() <= each.items() for each in labels), manifest["metadata"]["name"]


@pytest.mark.parametrize("overlay", ["dev", "poller-only", "statefulset"])
def test_an_overlay_brings_its_namespace(overlay: str, build: Build) -> None:
    manifests = build(overlay)
    (name,) = [each["metadata"]["name"] for each in manifests if each["kind"] == "Namespace"]
    assert {each["metadata"]["namespace"] for each in manifests if each["kind"] != "Namespace"} == {name}


@pytest.mark.parametrize("overlay", ["dev", "statefulset"])
def test_seeds_are_names_that_a_pods_own_hosts_file_answers(overlay: str, build: Build) -> None:
    manifests = build(overlay)
    (stateful,) = [each for each in manifests if each["kind"] == "StatefulSet" and "cassandra" in str(each["metadata"])]
    place = f"{stateful['spec']['serviceName']}.{stateful['metadata']['namespace']}.svc.cluster.local"
    pods_of_it = [f"{stateful['metadata']['name']}-{number}" for number in range(stateful["spec"]["replicas"])]
    (provider,) = cassandra_yaml(manifests)["seed_provider"]
    seeds = provider["parameters"][0]["seeds"].split(",")
    assert seeds
    assert set(seeds) <= {f"{pod}.{place}" for pod in pods_of_it}


def test_service_links_set_no_variables_that_look_like_the_daemons(manifests: list[Manifest]) -> None:
    for pod in pods(manifests):
        if pod.owner != "K8ssandraCluster":  # it has no field for it
            assert pod.spec["enableServiceLinks"] is False


def test_addresses_are_set_in_the_configuration_and_need_no_patch(manifests: list[Manifest]) -> None:
    names = {variable["name"] for variable in daemon_of(manifests)["env"]}
    assert not names & {"ELASTICSEARCH_URL", "CASSANDRA_HOST", "CASSANDRA_USERNAME"}


def test_nothing_asks_kubernetes(manifests: list[Manifest]) -> None:
    for pod in pods(manifests):
        if pod.owner in {"StatefulSet", "Deployment"}:
            assert pod.spec["automountServiceAccountToken"] is False


@pytest.mark.parametrize("overlay", SIDECARS)
def test_the_sidecar_is_native_and_holds_nobody_up(overlay: str, build: Build) -> None:
    pod = daemon_pod(build(overlay))
    assert pod.spec["initContainers"][0]["name"] == "cdc-daemon"
    daemon = daemon_of(build(overlay))
    assert daemon["restartPolicy"] == "Always"
    # Cassandra's container waits for the startup probe; the pod's readiness, and so Cassandra's, for the other.
    assert "startupProbe" not in daemon
    assert "readinessProbe" not in daemon
    assert "lifecycle" not in daemon
    assert daemon["livenessProbe"]["httpGet"]["path"] == "/livez"


def test_what_is_missing_or_wrong_does_not_keep_cassandra_from_its_start(manifests: list[Manifest]) -> None:
    """The daemon waits for it. A required Secret would block the whole pod, and an exit would make it not ready."""
    pod, daemon = daemon_pod(manifests), daemon_of(manifests)
    arguments = daemon["args"]
    assert "--wait-for-config" in arguments
    # Where the probes look, whatever the file says.
    assert int(arguments[arguments.index("--health-port") + 1]) == ports_of(daemon)["cdc-health"]
    volumes = {volume["name"]: volume for volume in pod.spec["volumes"]}
    for mount in daemon["volumeMounts"]:
        volume = volumes.get(mount["name"], {})
        sources = [each["secret"] for each in volume.get("projected", {}).get("sources", [])]
        sources += [volume["configMap"]] if "configMap" in volume else []
        assert all(source["optional"] is True for source in sources)
        # Changes do not arrive in a mounted file of a volume.
        assert not sources or "subPath" not in mount
    for variable in daemon["env"]:
        # The value of a variable stays as it was at the container's start, so the daemon could wait for it forever.
        assert set(variable.get("valueFrom", {"fieldRef": ""})) == {"fieldRef"}


@pytest.mark.parametrize("overlay", SIDECARS)
def test_the_log_and_the_state_are_on_cassandras_volume(overlay: str, build: Build) -> None:
    manifests = build(overlay)
    daemon = daemon_of(manifests)
    mounts = {mount["mountPath"]: mount for mount in daemon["volumeMounts"]}
    assert mounts[LOG] == {"name": "server-data", "mountPath": LOG, "subPath": "cdc_raw"}
    assert mounts[STATE] == {"name": "server-data", "mountPath": STATE, "subPath": "cdc-daemon"}
    volumes = {volume["name"] for volume in daemon_pod(manifests).spec["volumes"]}
    for manifest in manifests:
        if manifest["kind"] == "StatefulSet":
            volumes |= {claim["metadata"]["name"] for claim in manifest["spec"]["volumeClaimTemplates"]}
            (cassandra,) = manifest["spec"]["template"]["spec"]["containers"]
            assert {"name": "server-data", "mountPath": "/var/lib/cassandra"} in cassandra["volumeMounts"]
    if overlay in OPERATORS:
        volumes.add("server-data")  # the operator's own
    assert {mount["name"] for mount in daemon["volumeMounts"]} <= volumes


@pytest.mark.parametrize("overlay", SIDECARS)
def test_the_daemon_is_cassandras_user(overlay: str, build: Build) -> None:
    context = daemon_pod(build(overlay)).spec["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (999, 999, 999)


def cassandra_yaml(manifests: list[Manifest]) -> dict[str, Any]:
    """What cassandra.yaml has, whoever makes it."""
    for manifest in manifests:
        spec = manifest.get("spec", {})
        if manifest["kind"] == "CassandraDatacenter":
            return dict(spec["config"]["cassandra-yaml"])
        if manifest["kind"] == "K8ssandraCluster":
            return dict(spec["cassandra"]["config"]["cassandraYaml"])
        if manifest["kind"] == "ConfigMap" and "cassandra.yaml" in manifest["data"]:
            settings = dict(yaml.safe_load(manifest["data"]["cassandra.yaml"]))
            assert Path(settings["commitlog_directory"]).parent == Path(LOG).parent
            return settings
    pytest.fail("no Cassandra is configured")


@pytest.mark.parametrize("overlay", SIDECARS)
def test_cassandra_links_its_log_where_the_daemon_looks(overlay: str, build: Build) -> None:
    cassandra = cassandra_yaml(build(overlay))
    assert cassandra["cdc_enabled"] is True
    assert cassandra["cdc_raw_directory"] == LOG
    assert "commitlog_compression" not in cassandra


@pytest.mark.parametrize("overlay", SIDECARS)
def test_the_daemon_knows_the_limit_of_cdc_raw_without_asking(
    overlay: str, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(build(overlay), tmp_path, monkeypatch)
    theirs = NodeSettings({"cdc_total_space": cassandra_yaml(build(overlay))["cdc_total_space"]})
    assert settings.commit_log.cdc_total_space == theirs.size("cdc_total_space")


@pytest.mark.parametrize("overlay", OPERATORS)
def test_the_operator_makes_the_disruption_budget(overlay: str, build: Build) -> None:
    assert "PodDisruptionBudget" not in {manifest["kind"] for manifest in build(overlay)}


def test_a_plain_statefulset_has_one(build: Build) -> None:
    (budget,) = [each for each in build("statefulset") if each["kind"] == "PodDisruptionBudget"]
    assert budget["spec"]["selector"]["matchLabels"].items() <= daemon_pod(build("statefulset")).labels.items()


def test_every_daemon_is_scraped_where_it_listens(manifests: list[Manifest]) -> None:
    daemon = daemon_of(manifests)
    for manifest in manifests:
        if manifest["kind"] == "PodMonitor":
            (endpoint,) = manifest["spec"]["podMetricsEndpoints"]
            assert endpoint["port"] == daemon["livenessProbe"]["httpGet"]["port"] == "cdc-health"
            assert endpoint["scheme"] == daemon["livenessProbe"]["httpGet"]["scheme"].lower() == "http"
            assert "tlsConfig" not in endpoint
            (expression,) = manifest["spec"]["selector"]["matchExpressions"]
            assert expression["key"] in daemon_pod(manifests).labels


def test_policies_leave_cassandra_its_own_ports(manifests: list[Manifest]) -> None:
    labels = daemon_pod(manifests).labels
    for manifest in manifests:
        if (
            manifest["kind"] == "NetworkPolicy"
            and manifest["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
        ):
            let_in = {port["port"] for rule in manifest["spec"]["ingress"] for port in rule["ports"]}
            let_out = {port["port"] for rule in manifest["spec"]["egress"] for port in rule["ports"]}
            assert {9808, 9809} <= let_in
            assert {53, 9042, 9200} <= let_out
            if labels["cdc-daemon"] == "sidecar":
                # Cassandra's clients and nodes, its management API, Medusa, its metrics.
                assert {7000, 7001, 9042, 8080, 50051, 9000, 9103} <= let_in
                assert {7000, 7001} <= let_out


def test_services_lead_to_the_daemon(manifests: list[Manifest]) -> None:
    pod = daemon_pod(manifests)
    (service,) = [each for each in manifests if (each["kind"], each["metadata"]["name"]) == ("Service", "cdc-daemon")]
    assert service["spec"]["selector"].items() <= pod.labels.items()
    # By its number: names of native sidecars' ports are not found before Kubernetes 1.32.
    (port,) = service["spec"]["ports"]
    assert port["targetPort"] == ports_of(daemon_of(manifests))["cdc-http"]


def test_the_configuration_is_right_and_its_secrets_are_mounted(
    manifests: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(manifests, tmp_path, monkeypatch)
    daemon = daemon_of(manifests)
    assert ports_of(daemon) == {"cdc-http": settings.http.port, "cdc-health": settings.http.health_port}
    assert str(settings.state.directory) == STATE
    assert settings.http.auth.required
    assert all(token.file is not None and token.file.exists() for token in settings.http.auth.tokens)
    tls = settings.http.tls
    if tls is not None:
        assert tls.certificate_file.exists()
        assert tls.key_file.exists()
        assert settings.elasticsearch.ca_file is not None
        assert settings.elasticsearch.ca_file.exists()


def test_encryption_is_all_that_the_tls_component_changes_in_the_configuration() -> None:
    plain = yaml.safe_load((K8S / "base" / "config.yaml").read_text())
    encrypted = yaml.safe_load((K8S / "components" / "tls" / "config.yaml").read_text())
    assert encrypted["http"].pop("tls")
    assert encrypted["elasticsearch"].pop("ca_file")
    assert encrypted["elasticsearch"].pop("hosts") == ["https://elasticsearch-es-http:9200"]
    assert plain["elasticsearch"].pop("hosts") == ["http://elasticsearch:9200"]
    assert encrypted == plain


def test_names_are_told_wherever_the_cluster_tells_them(manifests: list[Manifest]) -> None:
    for manifest in manifests:
        if manifest["kind"] == "NetworkPolicy":
            # Each node's own cache is no pod, so a rule for pods would cut it off.
            (rule,) = [each for each in manifest["spec"]["egress"] if any(port["port"] == 53 for port in each["ports"])]
            assert "to" not in rule


def test_cassandra_writes_no_log_files_that_its_pod_is_evicted_for(build: Build) -> None:
    manifests = build("statefulset")
    (text,) = [each["data"]["logback.xml"] for each in manifests if "logback.xml" in each.get("data", {})]
    appenders = {each.get("class") for each in ET.fromstring(text).iter("appender")}
    assert appenders == {"ch.qos.logback.core.ConsoleAppender"}
    (cassandra,) = daemon_pod(manifests).spec["containers"]
    assert "/etc/cassandra/logback.xml" in {mount["mountPath"] for mount in cassandra["volumeMounts"]}


def test_commands_in_the_container_find_the_control_socket_in_the_state_directory(
    manifests: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(manifests, tmp_path, monkeypatch)
    given = {variable["name"]: variable.get("value") for variable in daemon_of(manifests)["env"]}
    # An address or a token in the environment would make the commands use the port.
    assert given.keys().isdisjoint({"CDC_DAEMON_URL", "CDC_DAEMON_TOKEN_FILE"})
    mounts = {mount["mountPath"]: mount for mount in daemon_of(manifests)["volumeMounts"]}
    assert not mounts[str(settings.state.directory)].get("readOnly")
    if settings.http.tls is not None:
        assert Path(f"{tmp_path}{given['CDC_DAEMON_CA_FILE']}").exists()
