"""The clients of the search engines: built from plain parameters, without own log lines and retries; their failures."""

from __future__ import annotations

import io
import json
import logging
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

import structlog
from aiohttp import ClientConnectorError, ServerDisconnectedError
from elastic_transport import (
    AiohttpHttpNode,
    ApiResponseMeta,
    AsyncTransport,
    ConnectionError,  # noqa: A004 -- the client's own
    HttpHeaders,
    SerializationError,
    Serializer,
    TransportError,
)
from elastic_transport.client_utils import DEFAULT, DefaultType, basic_auth_to_header, url_to_node_config
from elasticsearch import ApiError, AsyncElasticsearch, UnsupportedProductError
from elasticsearch.serializer import OrjsonSerializer

from cdc_daemon import __version__
from cdc_daemon.config.client_tls import ReloadingClientContext
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.search.engines.aws import AwsCredentialsError, AwsOptions, AwsSigner, SignedSession, refusal
from cdc_daemon.search.failure import BROKEN_ANSWER, UNSUPPORTED_PRODUCT, EngineError, Failure, shorten

log = structlog.get_logger(__name__)

STREAMED_FROM = 1 << 20
"""The size in bytes from which aiohttp expects a body as a stream: a larger body in one piece blocks the event loop."""


class NotConnectedError(ConnectionError):
    """The connection to Elasticsearch failed, so nothing was sent; or a request was refused before it was done."""


@dataclass(frozen=True, slots=True)
class ElasticsearchOptions:
    """How to reach a search engine.

    `flavor` says which client speaks to it: `elasticsearch` (8 and 9), `opensearch` (and Elasticsearch 7), or `auto`,
    which asks the engine.
    `hosts` are URLs with scheme, host and port, without credentials. Either `username` and `password`, or
    `api_key` (the encoded form), or neither. `ca_file` is a PEM file of certificate authorities instead of
    the system's. `request_timeout` is in seconds. `connections` is the number per host. With `aws` requests are signed
    instead.
    """

    hosts: tuple[str, ...]
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    verify: bool = True
    request_timeout: float = 30.0
    connections: int = 8
    flavor: Literal["auto", "elasticsearch", "opensearch"] = "elasticsearch"
    aws: AwsOptions | None = None


def make_client(options: ElasticsearchOptions) -> AsyncElasticsearch:
    """Return a client for Elasticsearch 8 and 9.

    It retries nothing (the bulk writer does, and knows which requests may be repeated), encodes with orjson, and
    logs the server's deprecation warnings. It suppresses the transport's log lines on each
    request and each dead node: the caller logs a failure once.
    Raises `ConfigError` if the options are invalid.
    """
    _prepare(options)
    basic_auth = None if options.username is None else (options.username, options.password or "")
    encrypted = any(host.startswith("https:") for host in options.hosts)
    return AsyncElasticsearch(
        list(options.hosts),
        basic_auth=basic_auth,
        api_key=options.api_key,
        ssl_context=_make_ssl_context(options) if encrypted else DEFAULT,
        request_timeout=options.request_timeout,
        connections_per_node=options.connections,
        **_sending(),
    )


def make_transport(options: ElasticsearchOptions) -> AsyncTransport:
    """Return the transport alone, with the behaviour of `make_client`, for OpenSearch and Elasticsearch 7.

    It sends plain media types, and any product may answer. Raises `ConfigError` if the options are invalid.
    """
    _prepare(options)
    headers = {"connection": "keep-alive", "user-agent": f"cdc-daemon/{__version__}"}
    if options.api_key is not None:
        headers["authorization"] = f"ApiKey {options.api_key}"
    elif options.username is not None:
        headers["authorization"] = basic_auth_to_header((options.username, options.password or ""))
    extras = {} if options.aws is None else {_SIGNER: AwsSigner(options.aws)}
    nodes = []
    for host in options.hosts:
        node = url_to_node_config(host)
        nodes.append(
            replace(
                node,
                headers=HttpHeaders(headers),
                request_timeout=options.request_timeout,
                connections_per_node=options.connections,
                ssl_context=_make_ssl_context(options) if node.scheme == "https" else None,
                _extras=extras,
            )
        )
    return AsyncTransport(nodes, meta_header=False, **_sending())


def _sending() -> dict[str, Any]:
    """Return how both clients send: without retries, with already encoded bulk bodies, to nodes of this module."""
    return {
        "node_class": _Node,
        "max_retries": 0,
        "retry_on_timeout": False,
        "retry_on_status": (),
        "serializers": {
            "application/json": OrjsonSerializer(),
            "application/vnd.elasticsearch+json": OrjsonSerializer(),
            "application/vnd.elasticsearch+x-ndjson": _EncodedNdjson(),
            "application/x-ndjson": _EncodedNdjson(),
            "text/*": _Page(),
        },
    }


def _prepare(options: ElasticsearchOptions) -> None:
    """Check the options, and silence the transport: the caller logs a failure once. Raises `ConfigError`."""
    for host in options.hosts:
        _check_host(host)
    if options.api_key is not None and options.username is not None:
        raise ConfigError("expected an API key or a user name, found both", hint="leave one of them out")
    logging.getLogger("elastic_transport.transport").setLevel(logging.WARNING)
    logging.getLogger("elastic_transport.node_pool").setLevel(logging.ERROR)


@contextmanager
def translated() -> Iterator[None]:
    """Convert the errors of the client to `EngineError`."""
    try:
        yield
    except (ApiError, TransportError) as error:
        raise EngineError(failure_of(error)) from None


def failure_of(error: ApiError | TransportError) -> Failure:
    """Return the failure for an error of the client; the response body is never quoted in full.

    `error` is an `ApiError` (there was a response) or a `TransportError` (no response, or a broken one).
    """
    if isinstance(error, UnsupportedProductError):
        return Failure(error.meta.status, UNSUPPORTED_PRODUCT, "what answers is not Elasticsearch")
    if isinstance(error, ApiError):
        body = error.body
        return Failure.from_error(error.meta.status, body.get("error") if isinstance(body, dict) else body)
    if isinstance(error, SerializationError):
        return Failure(0, BROKEN_ANSWER, "the answer is cut short or is no JSON")
    sent = not isinstance(error, NotConnectedError)
    kind = type(error) if sent else ConnectionError
    return Failure(0, _snake(kind.__name__), shorten(str(error.message)), sent)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _check_host(host: str) -> None:
    try:
        parts = urlsplit(host)
        complete = parts.scheme in {"http", "https"} and parts.hostname and parts.port
    except ValueError:
        complete = False
    else:
        if parts.username is not None or parts.password is not None:
            raise ConfigError(
                "expected a host without credentials, found some in its address",
                hint="give user name and password as options of their own",
            )
    if not complete:
        raise ConfigError(f"expected a host as http://name:port or https://name:port, found {host!r}")


def _make_ssl_context(options: ElasticsearchOptions) -> ssl.SSLContext:
    """Return a context that uses a replaced `ca_file` for new connections. Raises `ConfigError`."""
    return ReloadingClientContext(partial(_load_tls, options), [options.ca_file], server="elasticsearch")


def _load_tls(options: ElasticsearchOptions) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"expected PEM certificates, found something that cannot be loaded: {error}", file=options.ca_file
        ) from None
    if not options.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class _EncodedNdjson(Serializer):
    """Passes on bulk bodies, which are already encoded; a response is never NDJSON."""

    mimetype: ClassVar[str] = "application/vnd.elasticsearch+x-ndjson"

    def loads(self, data: bytes) -> Any:
        raise SerializationError(f"expected JSON, found {len(data)} bytes of NDJSON")

    def dumps(self, data: Any) -> bytes:
        assert isinstance(data, bytes), "bulk bodies are encoded by whoever sends them"
        return data


class _Page(Serializer):
    """The response of a proxy instead of Elasticsearch, read as text."""

    mimetype: ClassVar[str] = "text/plain"

    def loads(self, data: bytes) -> str:
        return data.decode(errors="replace")


_SIGNER = "cdc_daemon.signer"
"""The name under which the configuration of a node has the signer of its requests."""

_NOTHING_SENT = (ClientConnectorError, AwsCredentialsError)


class _Node(AiohttpHttpNode):
    """One host: streams large bodies, logs warnings, and reads responses of other servers as text."""

    _warned: ClassVar[set[str]] = set()

    async def perform_request(  # type: ignore[override]
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: HttpHeaders | None = None,
        request_timeout: DefaultType | float | None = DEFAULT,
    ) -> Any:
        sent: Any = io.BytesIO(body) if body is not None and len(body) > STREAMED_FROM else body
        try:
            answer = await super().perform_request(method, target, sent, headers, request_timeout)
        except ConnectionError as error:
            # A TLS error keeps its type, which identifies the cause.
            if type(error) is ConnectionError and any(isinstance(c, _NOTHING_SENT) for c in error.errors):
                raise NotConnectedError(error.message) from None
            if any(isinstance(c, ServerDisconnectedError) and not isinstance(c.message, str) for c in error.errors):
                # The message is an object with what was read of the answer's head.
                raise ConnectionError("the connection was closed in the middle of an answer") from None
            raise
        if _SIGNER in self.config._extras:
            answer = self._check_refusal(answer)
        return answer._replace(meta=self._tidy(answer.meta))

    def _create_aiohttp_session(self) -> None:  # private as well
        """Create the session, which signs requests if there is a signer."""
        super()._create_aiohttp_session()
        signer = self.config._extras.get(_SIGNER)
        if signer is not None:
            assert self.session is not None
            self.session = SignedSession(self.session, signer)  # type: ignore[assignment]  # it has what the base uses

    def _check_refusal(self, answer: Any) -> Any:
        """Return an answer in which AWS's reason stands where the engine's would. Raises `NotConnectedError`."""
        found = refusal(answer.meta.status, answer.meta.headers, answer.body)
        if found is None:
            return answer
        reason, of_signature = found
        if of_signature:
            self.config._extras[_SIGNER].forget()
            raise NotConnectedError(reason)
        error = {"error": {"type": "security_exception", "reason": reason}}
        return answer._replace(body=json.dumps(error).encode())

    def _log_request(self, *_: Any, **__: Any) -> None:  # private to elastic_transport: see its bound in pyproject.toml
        """Log nothing: the transport would decode whole bodies for it, and documents must not be logged."""

    def _tidy(self, meta: ApiResponseMeta) -> ApiResponseMeta:
        warning = meta.headers.get("warning")
        foreign = meta.status >= 400 and "json" not in (meta.headers.get("content-type") or "")
        if warning is None and not foreign:
            return meta
        headers = meta.headers.copy()
        if warning is not None:
            del headers["warning"]
            if warning not in self._warned and len(self._warned) < 100:
                self._warned.add(warning)
                log.info("elasticsearch.warning", warning=warning)
        if foreign:
            headers["content-type"] = "text/plain"
        return replace(meta, headers=headers)
