"""Certificates, the store's disk and cdc_raw, measured as they are now."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from cdc_daemon.app.parts.files import FilesPart, expiry
from cdc_daemon.config import Settings
from cdc_daemon.store import Store
from cdc_daemon.telemetry.metrics import Metrics

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def certificate(days: int) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "daemon")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(NOW - timedelta(days=365))
    made = builder.not_valid_after(NOW + timedelta(days=days)).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM)


def settings(tmp_path: Path, **more: Any) -> Settings:
    return Settings.model_validate({
        "commit_log": {"cdc_raw_directory": tmp_path},
        "state": {"directory": tmp_path / "state"},
        "mappings": {"user": {"table": "sunbird.user", "alias": "user_alias"}},
        **more,
    })  # fmt: skip


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"cdc_daemon_{name}", labels)


def test_a_chain_ends_with_its_first_and_authorities_with_their_last() -> None:
    bundle = certificate(10) + certificate(30)
    assert expiry(bundle, is_authority=False) == (NOW + timedelta(days=10)).timestamp()
    assert expiry(bundle, is_authority=True) == (NOW + timedelta(days=30)).timestamp()


def test_what_holds_no_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match="PEM"):
        expiry(b"nothing", is_authority=False)


def test_a_replaced_certificate_is_seen(tmp_path: Path) -> None:
    file, authority = tmp_path / "http.pem", tmp_path / "authority.pem"
    file.write_bytes(certificate(1))
    authority.write_bytes(certificate(90))
    metrics = Metrics()
    files = FilesPart(
        settings(
            tmp_path,
            http={"tls": {"certificate_file": file, "key_file": tmp_path / "key"}},
            elasticsearch={"ca_file": authority},
        ),
        metrics,
    )
    name = "certificate_expiry_timestamp_seconds"
    files.read_files()
    assert value(metrics, name, certificate="http") == (NOW + timedelta(days=1)).timestamp()
    assert value(metrics, name, certificate="elasticsearch_authority") == (NOW + timedelta(days=90)).timestamp()
    file.write_bytes(certificate(60))
    files.read_files()
    assert value(metrics, name, certificate="http") == (NOW + timedelta(days=60)).timestamp()


def test_a_file_that_cannot_be_read_is_told_and_keeps_its_value(tmp_path: Path) -> None:
    file = tmp_path / "http.pem"
    file.write_bytes(certificate(1))
    metrics = Metrics()
    tls = {"certificate_file": file, "key_file": tmp_path / "key"}
    files = FilesPart(settings(tmp_path, http={"tls": tls}), metrics)
    files.read_files()
    for content in (b"half a fi", None):
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
        with capture_logs() as events:
            files.read_files()
        assert [event["event"] for event in events if event.get("certificate") == "http"] == ["certificate.unreadable"]
        found = value(metrics, "certificate_expiry_timestamp_seconds", certificate="http")
        assert found == (NOW + timedelta(days=1)).timestamp()


def test_without_certificates_there_is_no_series(tmp_path: Path) -> None:
    metrics = Metrics()
    FilesPart(settings(tmp_path), metrics).read_files()
    assert b"certificate_expiry_timestamp_seconds{" not in generate_latest(metrics.registry)


def test_the_store_and_its_disk_are_measured(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    metrics = Metrics()
    FilesPart(settings(tmp_path), metrics).read_files()
    on_disk = sum(file.stat().st_size for file in (tmp_path / "state").iterdir() if "sqlite3" in file.name)
    assert value(metrics, "store_bytes") == on_disk > 0
    assert (value(metrics, "state_free_bytes") or 0) > 0
    store.close()


def test_a_state_directory_that_is_gone_is_told(tmp_path: Path) -> None:
    with capture_logs() as events:
        FilesPart(settings(tmp_path), Metrics()).read_files()
    assert [event["event"] for event in events] == ["state.unreadable"]


def test_cdc_raw_is_measured_against_its_configured_limit_before_anything_is_connected(tmp_path: Path) -> None:
    raw = tmp_path / "cdc_raw"
    raw.mkdir()
    (raw / "CommitLog-7-1.log").write_bytes(bytes(700))
    (raw / "CommitLog-7-1_cdc.idx").write_bytes(b"500\nCOMPLETED")
    (raw / "another").write_bytes(bytes(90))
    metrics = Metrics()
    files = FilesPart(settings(tmp_path, commit_log={"cdc_raw_directory": raw, "cdc_total_space": "1000B"}), metrics)
    assert value(metrics, "cdc_raw_limit_bytes") == 1000
    files.read_files()
    assert (value(metrics, "cdc_raw_segments"), value(metrics, "cdc_raw_bytes")) == (1, 713)
    (raw / "CommitLog-7-2.log").write_bytes(bytes(200))
    files.read_files()
    assert (value(metrics, "cdc_raw_segments"), value(metrics, "cdc_raw_bytes")) == (2, 913)


def test_a_limit_that_the_node_has_told_stays_while_a_start_waits_again(tmp_path: Path) -> None:
    metrics = Metrics()
    metrics.cdc_raw_limit_bytes.set(5000)
    FilesPart(settings(tmp_path), metrics).read_files()
    assert value(metrics, "cdc_raw_limit_bytes") == 5000


def test_a_folder_that_cannot_be_listed_is_told_and_keeps_its_value(tmp_path: Path) -> None:
    Store(tmp_path / "state").close()
    metrics = Metrics()
    metrics.cdc_raw_bytes.set(300)
    with capture_logs() as events:
        FilesPart(settings(tmp_path, commit_log={"cdc_raw_directory": tmp_path / "gone"}), metrics).read_files()
    assert [event["event"] for event in events] == ["cdc_raw.unreadable"]
    assert value(metrics, "cdc_raw_bytes") == 300


def test_no_folder_is_measured_without_a_tail(tmp_path: Path) -> None:
    Store(tmp_path / "state").close()
    (tmp_path / "CommitLog-7-1.log").write_bytes(bytes(700))
    metrics = Metrics()
    user = {"user": {"table": "sunbird.user", "alias": "user_alias"}}
    poll = [{"table": "sunbird.user", "strategy": "scan", "every": "10s"}]
    state = {"directory": tmp_path / "state"}
    FilesPart(
        Settings.model_validate({"tail": False, "poll": poll, "state": state, "mappings": user}), metrics
    ).read_files()
    assert value(metrics, "cdc_raw_bytes") == 0


@pytest.mark.slow
async def test_it_measures_until_cancelled(tmp_path: Path) -> None:
    Store(tmp_path / "state").close()
    metrics = Metrics()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2):
            await FilesPart(settings(tmp_path), metrics).run()
    assert (value(metrics, "state_free_bytes") or 0) > 0
