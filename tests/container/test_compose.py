"""compose/compose.yaml fits the Compose Specification, its files are there, and its configuration is right."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from cdc_daemon import __version__
from cdc_daemon.config import load
from sandbox.artifacts import CASSANDRA_VERSIONS, ELASTICSEARCH_VERSION
from tests.container.dockerfile import read

CHECKOUT = Path(__file__).resolve().parents[2]
FOLDER = CHECKOUT / "compose"
TEXT = (FOLDER / "compose.yaml").read_text(encoding="utf-8")


@pytest.fixture
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load(TEXT))


def test_it_fits_the_specification() -> None:
    parsed = PyCompose.from_yaml(TEXT)
    parsed.validate()
    assert sorted(parsed.service_names()) == ["cassandra", "cdc-daemon", "elasticsearch", "grafana", "prometheus"]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("restart: unless-stopped", "restart: perhaps"),
        ("    image: cassandra:5.0.6", "    image: cassandra:5.0.6\n    volumns: []"),
        ("source: rules", "source: ruels"),
    ],
)
def test_the_parser_finds_mistakes(right: str, wrong: str) -> None:
    assert right in TEXT
    with pytest.raises(ValueError, match=r"services|config"):
        PyCompose.from_yaml(TEXT.replace(right, wrong)).validate()


def test_every_file_it_names_is_there(compose: dict[str, Any]) -> None:
    for name, config in compose["configs"].items():
        assert (FOLDER / config["file"]).is_file(), name
    used = {config["source"] for service in compose["services"].values() for config in service.get("configs", [])}
    assert used == set(compose["configs"])


def test_every_volume_it_names_is_declared_and_used(compose: dict[str, Any]) -> None:
    mounts = [mount for service in compose["services"].values() for mount in service.get("volumes", [])]
    assert {mount.split(":")[0] for mount in mounts} == set(compose["volumes"])


def test_the_daemon_is_confined(compose: dict[str, Any]) -> None:
    daemon = compose["services"]["cdc-daemon"]
    assert daemon["read_only"] is True
    assert daemon["cap_drop"] == ["ALL"]
    assert daemon["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in daemon
    assert "mem_limit" in daemon
    assert "cpus" not in daemon
    assert daemon["image"] == f"cdc-daemon:{__version__}"
    _, (_, image) = read(CHECKOUT / "Dockerfile")
    assert compose["services"]["cassandra"]["user"] == image.all("USER")[0]


def test_nothing_is_reached_from_other_machines(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_no_secret_is_written_down(compose: dict[str, Any]) -> None:
    # A secret of the environment cannot be put into a read-only container (docker/compose#12531), and one of a file has
    # the owner that it has on the host: so the token's hash it is.
    assert "secrets" not in compose
    assert compose["services"]["cdc-daemon"]["environment"]["CDC_TOKEN_HASH"].startswith("${CDC_TOKEN_HASH:?")


def test_the_head_makes_the_token_as_the_daemon_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = [line.removeprefix("#   ") for line in TEXT.splitlines() if line.startswith("#   ")][:2]
    made = subprocess.run(
        ["/bin/sh", "-euc", "\n".join([*commands, 'printf "%s" "$TOKEN"'])],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    name, _, value = (tmp_path / ".env").read_text().strip().partition("=")
    monkeypatch.setenv(name, value)
    (token,) = load(FOLDER / "config.yaml").http.auth.tokens
    assert token.hash == f"sha256:{hashlib.sha256(made.stdout.encode()).hexdigest()}"


def test_cassandra_is_started_without_the_images_script_and_asked_where_it_listens(compose: dict[str, Any]) -> None:
    service = compose["services"]["cassandra"]
    assert service["entrypoint"] == ["cassandra", "-f"]
    assert "command" not in service
    settings = yaml.safe_load((FOLDER / compose["configs"]["cassandra"]["file"]).read_text())
    assert "rpc_address" not in settings
    assert service["environment"]["CQLSH_HOST"] == "cassandra"


def test_everything_tells_whether_it_is_well(compose: dict[str, Any]) -> None:
    assert all("healthcheck" in service for service in compose["services"].values())


def test_the_servers_are_those_that_the_tests_run_with(compose: dict[str, Any]) -> None:
    images = {name: compose["services"][name]["image"].rpartition(":")[2] for name in ("cassandra", "elasticsearch")}
    assert images == {"cassandra": CASSANDRA_VERSIONS["5.0"], "elasticsearch": ELASTICSEARCH_VERSION}


def test_the_daemons_configuration_is_right(compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_TOKEN_HASH", f"sha256:{'0' * 64}")
    settings = load(FOLDER / compose["configs"]["daemon"]["file"])
    daemon = compose["services"]["cdc-daemon"]
    mounts = {mount.split(":")[1] for mount in daemon["volumes"]}
    assert str(settings.state.directory) in mounts
    assert str(settings.commit_log.cdc_raw_directory.parent) in mounts
    assert daemon["ports"] == [f"127.0.0.1:{settings.http.port}:{settings.http.port}"]
    assert f"http://127.0.0.1:{settings.http.health_port}/livez" in daemon["healthcheck"]["test"][-1]
    _, (_, image) = read(CHECKOUT / "Dockerfile")
    assert image.all("EXPOSE") == [f"{settings.http.port} {settings.http.health_port}"]
    assert set(settings.cassandra.contact_points) <= set(compose["services"])
    assert str(settings.elasticsearch.hosts[0]) == "http://elasticsearch:9200"
    cassandra = yaml.safe_load((FOLDER / compose["configs"]["cassandra"]["file"]).read_text())
    assert cassandra["cdc_enabled"] is True
    assert cassandra["cdc_raw_directory"] == str(settings.commit_log.cdc_raw_directory)
    assert cassandra["commitlog_directory"].startswith("/var/lib/cassandra/")


def test_prometheus_scrapes_the_daemon_and_knows_the_rules(compose: dict[str, Any]) -> None:
    scraping = yaml.safe_load((FOLDER / compose["configs"]["prometheus"]["file"]).read_text())
    (job,) = scraping["scrape_configs"]
    assert "cdc-daemon" in job["job_name"]  # as the rules want it
    assert job["static_configs"] == [{"targets": ["cdc-daemon:9809"]}]
    mounted = {each["target"] for each in compose["services"]["prometheus"]["configs"]}
    assert set(scraping["rule_files"]) <= mounted
