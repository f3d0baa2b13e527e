"""The daemon itself: whether one with this configuration runs already, whether it is healthy, whether it can listen."""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from cdc_daemon.cli.checks.finding import Finding, fail, ok, warn
from cdc_daemon.config import HttpSettings, Settings
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.sources.log.lock import LOCK_FILE
from cdc_http import KeySetFile, ReloadingTlsContext, try_listening

_SECONDS = 3.0
"""How long the daemon may take to answer: somebody is waiting at a terminal."""


class Answer(NamedTuple):
    """What the daemon answered to a request for its readiness: the HTTP status, and the JSON body's states."""

    status: int
    states: Mapping[str, Any]


def ask_readiness(settings: HttpSettings) -> Answer | None:
    """Ask the daemon at the configured address whether it is ready; None where nothing answers there."""
    host = settings.local_host
    connection: http.client.HTTPConnection
    if settings.enabled and settings.health_port:
        connection = http.client.HTTPConnection(host, settings.health_port, timeout=_SECONDS)
    elif not settings.listens or not settings.port:
        return None
    elif settings.tls is None:
        connection = http.client.HTTPConnection(host, settings.port, timeout=_SECONDS)
    else:
        # It is asked whether it runs, and told nothing: the certificate need not prove a name.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, settings.port, timeout=_SECONDS, context=context)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        body = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return Answer(answer.status, body if isinstance(body, dict) else {})


def check_running(settings: Settings) -> tuple[Finding, bool]:
    """Return what was found, and whether a daemon holds what one of this configuration would need.

    Looks at the locks without waiting for them, and asks a daemon that holds one for its readiness.
    """
    places = [settings.state.directory / LOCK_FILE]
    if settings.tail:
        places.append(settings.commit_log.cdc_raw_directory)
    held = [str(path) for path in places if _is_locked(path)]
    if held:
        return _judge(settings.http, " and ".join(held)), True
    return ok("daemon.running", "no daemon is running here"), False


def _judge(settings: HttpSettings, held: str) -> Finding:
    name = "daemon.running"
    if not settings.enabled or not (settings.health_port or settings.port):
        return ok(name, f"a daemon is running: it holds {held}; without a port its health is not known")
    answer = ask_readiness(settings)
    if answer is None:
        return warn(
            name,
            f"a daemon holds {held}, and nothing answers at its configured port",
            "if it does not run with this configuration, correct state.directory or commit_log.cdc_raw_directory; "
            "otherwise look into its log",
        )
    if answer.status != 200:
        unready = ", ".join(name for name, state in answer.states.items() if state is False) or "no reason given"
        return warn(
            name, f"a daemon is running and is not ready: {unready}", "/status and its log tell what it waits for"
        )
    return ok(name, f"a healthy daemon is running: it holds {held}")


def _is_locked(path: Path) -> bool:
    try:
        with _opened(path) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


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
            ReloadingTlsContext(settings.tls)
        except ConfigError as error:
            yield fail("http.tls", error.message, error.hint)
        else:
            yield ok("http.tls", f"{settings.tls.certificate_file} and its key can be used")
    if settings.auth.jwt is not None and settings.auth.jwt.key_set_file is not None:
        try:
            KeySetFile(settings.auth.jwt.key_set_file)
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
