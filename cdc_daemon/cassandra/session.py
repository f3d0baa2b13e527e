"""The driver's session for all readers of Cassandra: connection, login, TLS, and the protocol handler."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from functools import partial
from typing import Any

from cassandra import (
    AuthenticationFailed,
    ConsistencyLevel,
    DriverException,
    OperationTimedOut,
    ProtocolVersion,
    UnresolvableContactPoints,
)
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import (
    EXEC_PROFILE_DEFAULT,
    Cluster,
    DefaultConnection,
    ExecutionProfile,
    NoHostAvailable,
    ProtocolVersionUnsupported,
    Session,
)
from cassandra.connection import ConnectionException
from cassandra.policies import DCAwareRoundRobinPolicy, ExponentialReconnectionPolicy, TokenAwarePolicy
from cassandra.protocol import ProtocolHandler

from cdc_daemon import __version__
from cdc_daemon.cassandra.bundle import bundle_context, locate, read_bundle
from cdc_daemon.cassandra.request_timer import RequestTimer
from cdc_daemon.config import CassandraSettings, TlsSettings
from cdc_daemon.config.client_tls import ReloadingClientContext
from cdc_daemon.model.errors import CassandraUnavailableError, ConfigError

_VALUE_FAILURE = "Failed decoding result column"
"""The start of the driver's error for a value that a type rejects (`protocol.py` and `obj_parser.pyx`, driver 3.29)."""


class ForgivingProtocolHandler(ProtocolHandler):  # type: ignore[misc]
    """The driver's own handler, except for values that Python cannot represent, such as a year beyond 9999.

    If decoding raises, the driver closes the connection as broken (`Connection.process_msg`). All other queries
    on it fail, and the host is marked down. One such row would stop everything, again and again.
    An exception that is returned instead becomes the result of its query alone (`ResponseFuture._set_result`).
    Any other decoding error still closes the connection, as its bytes may be out of step.
    """

    @classmethod
    def decode_message(cls, *arguments: Any) -> Any:
        """Decode a message, or return the error for a value that cannot be decoded."""
        try:
            return super().decode_message(*arguments)
        except DriverException as error:
            if str(error).startswith(_VALUE_FAILURE):
                return error
            raise


# 4.0 to 5.0 know version 5, 3.11 knows version 4. Without a fixed version, the driver starts with its own protocols
# and tries lower versions with a warning for each connection.
_PROTOCOL_VERSIONS = (ProtocolVersion.V5, ProtocolVersion.V4)

SUPPORTED = "Cassandra 3.11 and 4.0 to 5.0"
"""The supported releases, for messages."""

_CONNECT_TIMEOUT = 5.0

# The driver's own policy gives up after 64 attempts and waits up to ten minutes between two: a node that
# was down for a night would never be found again.
_RECONNECTION = {"base_delay": 0.5, "max_delay": 10.0, "max_attempts": None}

_HEARTBEAT_INTERVAL = 5
_HEARTBEAT_TIMEOUT = 10
"""The heartbeat interval of an idle connection and its timeout in seconds, after which the driver reconnects.
The driver's defaults of 30 and 30 keep dead connections in use for a minute. The timeout is
longer than a long garbage collection pause of a node."""


class _LoginRefusedError(ConnectionException):  # type: ignore[misc]  # the driver is untyped
    """A node refused the login."""


class _Connection(DefaultConnection):  # type: ignore[misc]  # the driver is untyped
    """A connection that treats a refused login like any other connection failure, and frees answered requests.

    For the driver an `AuthenticationFailed` is final: it never tries that node again. But a node that
    has just started, or that cannot reach the replicas of the roles, also refuses the right password.
    """

    @classmethod
    def create_timer(cls, timeout: float, callback: Callable[[], None]) -> RequestTimer:
        return RequestTimer(super().create_timer, timeout, callback)

    @classmethod
    def factory(cls, endpoint: Any, timeout: float, *arguments: Any, **options: Any) -> Any:
        try:
            return super().factory(endpoint, timeout, *arguments, **options)
        except AuthenticationFailed as error:
            raise _LoginRefusedError(str(error), endpoint) from error


def connect(options: CassandraSettings) -> Session:
    """Connect to the cluster and return the driver's session; `session.cluster.shutdown()` ends it.

    Blocks for up to a few seconds for each contact point that does not answer. The session's default
    profile reads at the configured consistency, token-aware, in the local datacenter (that of the first
    contact point that answers, if none is configured). The driver reconnects lost connections without limit.

    It speaks version 5 of the native protocol, or version 4 if the server does not know version 5.

    Raises `CassandraUnavailableError` if no contact point can be reached, and `ConfigError` if the
    files of the TLS section or the secure connect bundle cannot be used, or if the cluster has no datacenter of the
    configured name.
    """
    address = _address(options)
    try:
        with _without_refusals():
            session = _connect(options, address, _PROTOCOL_VERSIONS[0])
    except CassandraUnavailableError as error:
        cause = error.__cause__
        errors = cause.errors if isinstance(cause, NoHostAvailable) else {"": cause}
        if not (isinstance(errors, Mapping) and any(map(_refuses_version, errors.values()))):
            raise
        session = _connect(options, address, _PROTOCOL_VERSIONS[1])
    session.client_protocol_handler = ForgivingProtocolHandler
    return session


def _address(options: CassandraSettings) -> dict[str, Any]:
    """Return where the cluster is, as arguments of the driver: from the bundle if there is one."""
    if options.secure_connect_bundle is None:
        context = _tls_context(options.tls) if options.tls.enabled else None
        return {"contact_points": list(options.contact_points), "port": options.port, "ssl_context": context}
    bundle = read_bundle(options.secure_connect_bundle)
    context = bundle_context(bundle)
    found = locate(
        bundle,
        context,
        local_datacenter=options.local_datacenter,
        timeout=min(_CONNECT_TIMEOUT, options.request_timeout),
    )
    return {"contact_points": found.contact_points(), "endpoint_factory": found.factory(), "ssl_context": context}


@contextmanager
def connected(options: CassandraSettings) -> Iterator[Session]:
    """Connect for the duration of a block. Blocks and raises as `connect` does."""
    session = connect(options)
    try:
        yield session
    finally:
        session.cluster.shutdown()


def _connect(options: CassandraSettings, address: Mapping[str, Any], version: int) -> Session:
    cluster = _cluster(options, address, version)
    try:
        return cluster.connect()
    except NoHostAvailable as error:
        datacenters = {host.datacenter for host in cluster.metadata.all_hosts() if host.datacenter}
        cluster.shutdown()
        _check_datacenter(options, datacenters)
        # The driver returns an empty list if its policy left no host to query.
        raise _unavailable(options, error.errors if isinstance(error.errors, Mapping) else {}) from error
    except Exception as error:
        cluster.shutdown()
        raise _unavailable(options, {"": error}) from error


def _cluster(options: CassandraSettings, address: Mapping[str, Any], version: int) -> Cluster:
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(options.local_datacenter or "")),
        consistency_level=ConsistencyLevel.name_to_value[options.consistency],
        request_timeout=options.request_timeout,
    )
    try:
        return Cluster(
            **address,
            execution_profiles={EXEC_PROFILE_DEFAULT: profile},
            connection_class=_Connection,
            protocol_version=version,
            auth_provider=_login(options),
            reconnection_policy=ExponentialReconnectionPolicy(**_RECONNECTION),
            compression=False,
            connect_timeout=min(_CONNECT_TIMEOUT, options.request_timeout),
            control_connection_timeout=options.request_timeout,
            idle_heartbeat_interval=_HEARTBEAT_INTERVAL,
            idle_heartbeat_timeout=_HEARTBEAT_TIMEOUT,
            monitor_reporting_enabled=False,
            application_name="cdc-daemon",
            application_version=__version__,
        )
    except UnresolvableContactPoints:
        raise CassandraUnavailableError(
            "expected a contact point that resolves to an address, found none",
            hint="correct cassandra.contact_points",
            contact_points=", ".join(options.contact_points),
        ) from None


def _refuses_version(error: object) -> bool:
    """Return whether a server refused the version of the protocol. 3.11 knows 5 as a beta version only."""
    text = str(error).lower()
    return isinstance(error, ProtocolVersionUnsupported) or any(each in text for each in _REFUSALS)


_REFUSALS = ("beta version of the protocol", "unsupported protocol version", "set client protocol_version")


class _RefusedVersions(logging.Filter):
    """Drops the driver's lines and tracebacks about a refused version while another version follows."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not (_refuses_version(record.getMessage()) or (error is not None and _refuses_version(error)))


@contextmanager
def _without_refusals() -> Iterator[None]:
    drop = _RefusedVersions()
    loggers = [logging.getLogger(name) for name in ("cassandra.cluster", "cassandra.connection")]
    for logger in loggers:
        logger.addFilter(drop)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(drop)


def _check_datacenter(options: CassandraSettings, found: AbstractSet[str]) -> None:
    """Raise `ConfigError` if the datacenters are known and none has the configured name."""
    wanted = options.local_datacenter
    if wanted is None or not found or wanted in found:
        return
    raise ConfigError(
        f"expected a datacenter of the cluster in cassandra.local_datacenter, found {wanted!r}",
        hint=f"the cluster has {', '.join(sorted(found))}",
        contact_points=", ".join(options.contact_points),
    )


def _login(options: CassandraSettings) -> PlainTextAuthProvider | None:
    if options.username is None or options.password is None:
        return None
    return PlainTextAuthProvider(options.username, options.password.get_secret_value())


def _tls_context(tls: TlsSettings) -> ssl.SSLContext:
    """Return a context that uses replaced files for new connections. Raises `ConfigError`."""
    files = (tls.ca_file, tls.certificate_file, tls.key_file)
    return ReloadingClientContext(partial(_load_tls, tls), files, server="cassandra")


def _load_tls(tls: TlsSettings) -> ssl.SSLContext:
    place: dict[str, Any] = {}
    try:
        place = {"ca_file": tls.ca_file}
        context = ssl.create_default_context(cafile=tls.ca_file)
        context.check_hostname = tls.verify_hostname
        if tls.certificate_file is not None:
            place = {"certificate_file": tls.certificate_file, "key_file": tls.key_file}
            context.load_cert_chain(tls.certificate_file, tls.key_file, password=_no_passphrase)
    except OSError as error:
        raise ConfigError(
            f"expected certificates and keys in PEM form, found {error.strerror or error}",
            hint="correct cassandra.tls",
            **place,
        ) from error
    return context


def _no_passphrase() -> str:
    # Without this OpenSSL would prompt on the terminal and wait.
    return ""


def _unavailable(options: CassandraSettings, errors: Mapping[Any, Any]) -> CassandraUnavailableError:
    """Return the error with each contact point's failure and the usual fix."""
    answers = "; ".join(
        f"{str(getattr(host, 'endpoint', host) or 'driver').strip()}: {_short(error)}" for host, error in errors.items()
    )
    return CassandraUnavailableError(
        f"expected Cassandra to answer, found {answers or 'no host'}",
        hint=_hint(options, list(errors.values())),
        **_place(options),
    )


def _place(options: CassandraSettings) -> dict[str, Any]:
    if options.secure_connect_bundle is not None:
        return {"secure_connect_bundle": options.secure_connect_bundle}
    return {"contact_points": ", ".join(options.contact_points), "port": options.port}


def _short(error: object) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _hint(options: CassandraSettings, errors: list[Any]) -> str:
    if any(isinstance(error, _LoginRefusedError) for error in errors):
        if options.secure_connect_bundle is not None:
            return "Astra takes username: token, and an application token (AstraCS:…) as the password"
        return "correct cassandra.username and cassandra.password_file"
    if any(map(_refuses_version, errors)):
        return f"{SUPPORTED} are supported, and this server does not speak their protocol"
    if any(isinstance(error, ssl.SSLError) for error in errors):
        return "compare cassandra.tls with client_encryption_options in cassandra.yaml"
    if options.secure_connect_bundle is not None:
        return "is the database active, and may this machine reach the proxy that the metadata service names?"
    if any(isinstance(error, OperationTimedOut) for error in errors) and not options.tls.enabled:
        return "is the node overloaded, or does it require TLS (cassandra.tls.enabled)?"
    return "is the node up, with its native transport at this address and port?"
