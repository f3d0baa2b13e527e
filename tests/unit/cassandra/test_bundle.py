"""Astra's secure connect bundle: what is wrong with one is said, and its metadata service is asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from cdc_daemon.cassandra import bundle
from cdc_daemon.cassandra.bundle import bundle_context, locate, read_bundle
from cdc_daemon.cassandra.session import connect
from cdc_daemon.cli.checks.cassandra import check_bundle, check_cassandra
from cdc_daemon.config import CassandraSettings, Settings
from cdc_daemon.model.errors import CassandraUnavailableError, ConfigError
from tests.unit.cassandra.astra import DATACENTER, AstraModel

pytestmark = pytest.mark.slow


@pytest.fixture
def astra(tmp_path: Path) -> Iterator[AstraModel]:
    with AstraModel(tmp_path / "astra").metadata() as model:
        model.answer["contact_info"]["sni_proxy_address"] = "127.0.0.1:9"
        yield model


def settings(path: Path, **more: object) -> CassandraSettings:
    return CassandraSettings.model_validate({"secure_connect_bundle": path, "request_timeout": "2s", **more})


def test_the_metadata_service_names_the_nodes(astra: AstraModel) -> None:
    found = read_bundle(astra.bundle())
    address = locate(found, bundle_context(found), local_datacenter=DATACENTER, timeout=5)
    assert (address.proxy, address.port, address.local_datacenter) == ("127.0.0.1", 9, DATACENTER)
    assert [each.ssl_options for each in address.contact_points()] == [
        {"server_hostname": "a"},
        {"server_hostname": "b"},
    ]
    assert address.factory().create({"host_id": "c"}).ssl_options == {"server_hostname": "c"}


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"config_json": None}, "none of the name config.json"),
        ({"key": None}, "none of the name key"),
        ({"config_json": b"{"}, "a config.json without host and port"),
        ({"config_json": b'{"host": 1, "port": 2}'}, "a config.json without host and port"),
        ({"config_json": b'{"host": "h", "port": 70000}'}, "a config.json without host and port"),
        ({"config_json": b"[]"}, "a config.json without host and port"),
        ({"cert": b"x"}, "a certificate that is not in PEM form"),
        ({"ca_crt": b"x"}, "a certificate that is not in PEM form"),
        ({"key": b"x"}, "a certificate and a key that do not fit"),
        ({"cert": b"x" * (1 << 21)}, "cert of more than"),
    ],
)
def test_what_is_wrong_with_a_bundle(astra: AstraModel, changed: dict[str, bytes | None], found: str) -> None:
    path = astra.bundle(**changed)
    finding = check_bundle(path)
    assert finding.status == "fail"
    assert found in finding.found
    assert "PRIVATE KEY" not in finding.found
    with pytest.raises(ConfigError):
        connect(settings(path))


def test_a_file_that_is_no_bundle(tmp_path: Path) -> None:
    file = tmp_path / "file"
    assert "no such file" in check_bundle(file).found
    file.write_bytes(b"no zip")
    assert "no zip archive" in check_bundle(file).found
    assert "is a directory" in check_bundle(tmp_path).found


def test_an_expired_certificate(astra: AstraModel, monkeypatch: pytest.MonkeyPatch) -> None:
    path = astra.bundle()
    soon = check_bundle(path)
    assert (soon.status, "valid until" in soon.found) == ("warn", True)
    later = bundle.now() + timedelta(days=3)
    monkeypatch.setattr(bundle, "now", lambda: later)
    assert "a certificate that expired on" in check_bundle(path).found


def test_a_bundle_of_another_region(astra: AstraModel) -> None:
    with pytest.raises(ConfigError) as error:
        connect(settings(astra.bundle(), local_datacenter="us-east1"))
    assert error.value.message == f"expected a bundle of the datacenter us-east1, found one of {DATACENTER}"
    declared = Settings.model_construct(
        cassandra=settings(astra.bundle(), local_datacenter="us-east1"), mappings={}, poll=(), tail=False
    )
    findings = check_cassandra(declared).findings
    assert [(each.name, each.status) for each in findings] == [
        ("cassandra.bundle", "warn"),
        ("cassandra.reachable", "fail"),
    ]
    assert "download the bundle of that region" in str(findings[1].mend)


@pytest.mark.parametrize(
    "answer", [b"<html>", [], {}, {"contact_info": 1}, {"contact_info": {"local_dc": "x", "contact_points": []}}]
)
def test_an_answer_that_names_no_node(astra: AstraModel, answer: object) -> None:
    astra.answer = answer
    with pytest.raises(CassandraUnavailableError):
        connect(settings(astra.bundle()))


def test_a_paused_database_another_authority_and_nobody(astra: AstraModel, tmp_path: Path) -> None:
    astra.status = 503
    with pytest.raises(CassandraUnavailableError) as error:
        connect(settings(astra.bundle()))
    assert "it answered 503" in error.value.message
    assert "not paused or deleted" in str(error.value.hint)
    other = AstraModel(tmp_path / "other")
    other.port = astra.port
    with pytest.raises(CassandraUnavailableError) as error:
        connect(settings(other.bundle()))
    assert "certificates of the bundle are not those of this service" in str(error.value.hint)
    other.port = 9
    with pytest.raises(CassandraUnavailableError) as error:
        connect(settings(other.bundle()))
    assert "metadata service of Astra" in error.value.message


def test_a_proxy_that_does_not_answer(astra: AstraModel) -> None:
    with pytest.raises(CassandraUnavailableError) as error:
        connect(settings(astra.bundle()))
    assert error.value.where["secure_connect_bundle"]
    assert "contact_points" not in error.value.where


@pytest.mark.parametrize("beside", [{"contact_points": ["127.0.0.1"]}, {"port": 9042}, {"tls": {"enabled": True}}])
def test_addresses_beside_a_bundle(beside: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected secure_connect_bundle without"):
        settings(Path("bundle.zip"), **beside)
