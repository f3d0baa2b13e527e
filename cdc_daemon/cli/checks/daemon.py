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
from cdc_daemon.config import HttpSettings, PeerSettings, Settings
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.sources.log.lock import LOCK_FILE
from cdc_http import KeySetFile, ReloadingTlsContext, try_listening

_SECONDS = 3.0
"""The timeout of a request. It is short because a person is waiting for the check."""


class Readiness(NamedTuple):
    """The daemon's answer to `/readyz`: the HTTP status, and the states in the JSON body."""

    status: int
    states: Mapping[str, Any]


def ask_readiness(settings: HttpSettings) -> Readiness | None:
    """Request `/readyz` of the daemon at the configured address. Return None if there is no answer."""
    host = settings.local_host
    connection: http.client.HTTPConnection
    if settings.enabled and settings.health_port:
        connection = http.client.HTTPConnection(host, settings.health_port, timeout=_SECONDS)
    elif not settings.listens or not settings.port:
        return None
    elif settings.tls is None:
        connection = http.client.HTTPConnection(host, settings.port, timeout=_SECONDS)
    else:
        # The request contains no secret, so the certificate is not verified.
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
    return Readiness(answer.status, body if isinstance(body, dict) else {})


def check_running(settings: Settings) -> tuple[Finding, bool]:
    """Return the finding, and whether a daemon holds a lock that a daemon with this configuration would need.

    The locks are tested without waiting. A daemon that holds one is asked for its readiness.
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
        return ok(
            name, f"a daemon is running: it has locked {held}; its health is not known, because it has no HTTP port"
        )
    answer = ask_readiness(settings)
    if answer is None:
        return warn(
            name,
            f"a daemon has locked {held}, but it does not answer on the configured port",
            "if it runs with another configuration, correct state.directory or commit_log.cdc_raw_directory; "
            "otherwise see its log",
        )
    if answer.status != 200:
        states = answer.states.get("checks", answer.states)
        named = states.items() if isinstance(states, Mapping) else ()
        unready = ", ".join(name for name, state in named if state is False) or "no reason given"
        return warn(
            name, f"a daemon is running and is not ready: {unready}", "/status and its log show what it is waiting for"
        )
    return ok(name, f"a healthy daemon is running: it has locked {held}")


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
    """Check the addresses, the certificate and the key set. Ports are not checked if a daemon is already `running`."""
    ports = {"http.port": settings.port if settings.listens else None}
    ports["http.health_port"] = settings.health_port if settings.enabled else None
    if all(port is None for port in ports.values()):
        yield ok("http.listening", "the HTTP server is switched off")
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
            yield ok("http.tls", f"{settings.tls.certificate_file} and its key are valid")
    if settings.auth.jwt is not None and settings.auth.jwt.key_set_file is not None:
        try:
            KeySetFile(settings.auth.jwt.key_set_file)
        except ConfigError as error:
            yield fail("http.auth", f"{settings.auth.jwt.key_set_file}: {error.message}", error.hint)
        else:
            yield ok("http.auth", f"{settings.auth.jwt.key_set_file} is a valid key set")


def check_peers(settings: PeerSettings, *, running: bool, divided: bool = False) -> Iterator[Finding]:
    """Check the address for questions of other daemons, unless a daemon is already `running`.

    `divided` is true if the daemon leaves changes to others (`ownership: primary`), so that it needs peers.
    """
    if divided and settings.port is None:
        yield warn(
            "peers.port",
            "commit_log.ownership is primary, and no peers can be asked: this daemon writes all changes in its log",
            "set peers.port and peers.token_file for all daemons of the ring",
        )
    if settings.port is not None and not running:
        yield _check_port(settings.host, settings.port, "peers.port")


def _check_port(host: str, port: int, setting: str) -> Finding:
    try:
        try_listening(host, port, setting)
    except ConfigError as error:
        return fail(setting, f"{host}:{port}: {error.message}", error.hint)
    return ok(setting, f"{host}:{port} is free")
