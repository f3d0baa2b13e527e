"""compose.yaml: read by a parser of the Compose Specification, its files there, its daemon's configuration right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from cdc_daemon import __version__
from cdc_daemon.config import load
from tests.container.dockerfile import read

CHECKOUT = Path(__file__).resolve().parents[2]
TEXT = (CHECKOUT / "compose.yaml").read_text(encoding="utf-8")


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
        assert (CHECKOUT / config["file"]).is_file(), name
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
    assert compose["secrets"] == {"sync-token": {"environment": "CDC_SYNC_TOKEN"}}


def test_the_daemons_configuration_is_right(compose: dict[str, Any], tmp_path: Path) -> None:
    text = (CHECKOUT / compose["configs"]["daemon"]["file"]).read_text()
    (tmp_path / "sync-token").write_text("0123456789abcdef0123456789abcdef")
    config = tmp_path / "config.yaml"
    config.write_text(text.replace("/run/secrets/", f"{tmp_path}/"))
    settings = load(config)
    daemon = compose["services"]["cdc-daemon"]
    mounts = {mount.split(":")[1] for mount in daemon["volumes"]}
    assert str(settings.state.directory) in mounts
    assert str(settings.commit_log.cdc_raw_directory.parent) in mounts
    assert daemon["ports"] == [f"127.0.0.1:{settings.http.port}:{settings.http.port}"]
    assert set(settings.cassandra.contact_points) <= set(compose["services"])
    assert str(settings.elasticsearch.hosts[0]) == "http://elasticsearch:9200"
    assert daemon["secrets"][0]["uid"] == "999"
    cassandra = yaml.safe_load((CHECKOUT / compose["configs"]["cassandra"]["file"]).read_text())
    assert cassandra["cdc_enabled"] is True
    assert cassandra["cdc_raw_directory"] == str(settings.commit_log.cdc_raw_directory)
    assert cassandra["commitlog_directory"].startswith("/var/lib/cassandra/")


def test_prometheus_scrapes_the_daemon_and_knows_the_rules(compose: dict[str, Any]) -> None:
    scraping = yaml.safe_load((CHECKOUT / compose["configs"]["prometheus"]["file"]).read_text())
    (job,) = scraping["scrape_configs"]
    assert "cdc-daemon" in job["job_name"]  # as the rules want it
    assert job["static_configs"] == [{"targets": ["cdc-daemon:8080"]}]
    mounted = {each["target"] for each in compose["services"]["prometheus"]["configs"]}
    assert set(scraping["rule_files"]) <= mounted
