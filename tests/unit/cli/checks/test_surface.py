"""The address and the files of the HTTP surface are checked as the daemon's start checks them."""

from __future__ import annotations

import socket
from pathlib import Path

from cdc_daemon.cli.checks.finding import Finding
from cdc_daemon.cli.checks.surface import check_http
from cdc_daemon.config import AuthSettings, HttpSettings, HttpTlsSettings, JwtSettings


def _check(settings: HttpSettings, *, running: bool = False) -> dict[str, Finding]:
    return {finding.name: finding for finding in check_http(settings, running=running)}


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        finding = _check(HttpSettings(port=port))["http.port"]
        assert finding.status == "fail"
        assert f"127.0.0.1:{port}" in finding.found
        assert "http.port" in str(finding.mend)
        assert not _check(HttpSettings(port=port), running=True)
        finding = _check(HttpSettings(port=0, health_port=port))["http.health_port"]
        assert finding.status == "fail"
        assert "http.health_port" in str(finding.mend)
    assert _check(HttpSettings(port=port))["http.port"].status == "ok"


def test_a_daemon_that_does_not_listen() -> None:
    assert _check(HttpSettings(port=None))["http.listening"].status == "ok"


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    certificate, keys = tmp_path / "tls.crt", tmp_path / "keys.json"
    certificate.write_text("no certificate")
    keys.write_text('{"keys": 3}')
    settings = HttpSettings(
        port=0,
        tls=HttpTlsSettings(certificate_file=certificate, key_file=tmp_path / "tls.key"),
        auth=AuthSettings(jwt=JwtSettings(key_set_file=keys)),
    )
    found = _check(settings)
    assert found["http.tls"].status == "fail"
    assert found["http.auth"].status == "fail"
    assert str(keys) in found["http.auth"].found
