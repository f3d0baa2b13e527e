"""The HTTP surface: can the daemon listen where it is told to, and use the files that the section names."""

from __future__ import annotations

from collections.abc import Iterator

from cdc_daemon.cli.checks.finding import Finding, fail, ok
from cdc_daemon.config import HttpSettings
from cdc_daemon.model.errors import ConfigError
from cdc_http import RotatedContext, StoredKeys, try_listening


def check_http(settings: HttpSettings, *, running: bool) -> Iterator[Finding]:
    """Check the addresses, the certificate and the signers' keys. `running` says that a daemon listens already."""
    ports = {"http.port": settings.port if settings.listens else None}
    ports["http.health_port"] = settings.health_port if settings.enabled else None
    if all(port is None for port in ports.values()):
        yield ok("http.listening", "the daemon listens for no requests")
        return
    if not running:
        for setting, port in ports.items():
            if port:
                yield _check_port(settings.host, port, setting)
    if settings.tls is not None:
        try:
            RotatedContext(settings.tls)
        except ConfigError as error:
            yield fail("http.tls", error.message, error.hint)
        else:
            yield ok("http.tls", f"{settings.tls.certificate_file} and its key can be used")
    if settings.auth.jwt is not None and settings.auth.jwt.key_set_file is not None:
        try:
            StoredKeys(settings.auth.jwt.key_set_file)
        except ConfigError as error:
            yield fail("http.auth", f"{settings.auth.jwt.key_set_file}: {error.message}", error.hint)
        else:
            yield ok("http.auth", f"{settings.auth.jwt.key_set_file} holds the signers' keys")


def _check_port(host: str, port: int, setting: str) -> Finding:
    try:
        try_listening(host, port, setting)
    except ConfigError as error:
        return fail(setting, f"{host}:{port}: {error.message}", error.hint)
    return ok(setting, f"{host}:{port} is free")
