"""The client that is made: what it sends, what it keeps to itself, and what it refuses."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import logging
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from elastic_transport import BaseNode, SerializationError, TlsError
from elastic_transport import ConnectionError as NoConnectionError
from elasticsearch import ApiError
from structlog.testing import capture_logs

from cdc_daemon.model.errors import ConfigError
from cdc_daemon.search.engines.client import ElasticsearchOptions, failure_of, make_client, make_transport, translated
from cdc_daemon.search.engines.detection import make_engine
from cdc_daemon.search.failure import EngineError, Failure
from tests.unit.search.fake import PRODUCT, FakeElasticsearch


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (ElasticsearchOptions(("h",), username="u", password="p4ss"), "Basic dTpwNHNz"),
        (ElasticsearchOptions(("h",), username="u"), "Basic dTo="),
        (ElasticsearchOptions(("h",), api_key="a2V5"), "ApiKey a2V5"),
        (ElasticsearchOptions(("h",)), None),
    ],
)
async def test_credentials_are_sent_and_not_shown(options: ElasticsearchOptions, expected: str | None) -> None:
    headers: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        headers.append(request.headers.get("Authorization"))
        return web.json_response({}, headers=PRODUCT)

    async with serving(answer) as port:
        reached = ElasticsearchOptions(
            (f"http://127.0.0.1:{port}",), options.username, options.password, options.api_key
        )
        async with make_client(reached) as client:
            await client.info()
            await client.options(request_timeout=5).info()

    assert headers == [expected] * 2
    assert "p4ss" not in repr(reached)
    assert "a2V5" not in repr(reached)


async def test_nothing_is_retried_by_the_client() -> None:
    count = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal count
        count += 1
        return web.json_response({"error": "busy"}, status=503, headers=PRODUCT)

    async with serving(answer) as port, make_client(ElasticsearchOptions((f"http://127.0.0.1:{port}",))) as client:
        with pytest.raises(ApiError):
            await client.info()

    assert count == 1


def test_an_answers_body_is_never_quoted() -> None:
    broken = SerializationError("Unable to deserialize as JSON: b'secret document'", errors=())

    assert "secret" not in failure_of(broken).reason


def test_the_clients_errors_become_ours() -> None:
    with pytest.raises(EngineError) as caught, translated():
        raise NoConnectionError("refused")
    assert caught.value.failure == Failure(0, "connection_error", "refused")


async def test_no_body_is_logged_at_any_level() -> None:
    """This notices if the library renames its private method or its logger."""
    lines: list[str] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"said": "s3cret"}, headers=PRODUCT)

    logger, handler = logging.getLogger("elastic_transport.node"), Keeping()
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        async with serving(answer) as port, make_client(ElasticsearchOptions((f"http://127.0.0.1:{port}",))) as client:
            await client.index(index="users", document={"told": "s3cret"})
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    assert lines == []
    assert hasattr(BaseNode, "_log_request")


async def test_a_warning_of_the_server_is_a_log_line_said_once() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({}, headers={**PRODUCT, "Warning": '299 Elasticsearch "old-fashioned"'})

    async with serving(answer) as port, make_client(ElasticsearchOptions((f"http://127.0.0.1:{port}",))) as client:
        with capture_logs() as logs:
            await client.info()
            await client.info()

    assert [entry["event"] for entry in logs] == ["elasticsearch.warning"]


async def test_a_deprecation_of_opensearch_is_a_log_line_said_once() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({}, headers={"Warning": '299 OpenSearch-2.19.5 "[types removal] old"'})

    async with serving(answer) as port:
        transport = make_transport(ElasticsearchOptions((f"http://127.0.0.1:{port}",)))
        with capture_logs() as logs:
            await transport.perform_request("GET", "/")
            meta, _body = await transport.perform_request("GET", "/")
        await transport.close()

    assert [entry["event"] for entry in logs] == ["elasticsearch.warning"]
    assert "OpenSearch-2.19.5" in logs[0]["warning"]
    assert "warning" not in meta.headers


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (ElasticsearchOptions(("h",), username="u", password="p4ss"), "Basic dTpwNHNz"),
        (ElasticsearchOptions(("h",), api_key="os_a2V5"), "ApiKey os_a2V5"),
        (ElasticsearchOptions(("h",)), None),
    ],
)
async def test_credentials_reach_opensearch_too(options: ElasticsearchOptions, expected: str | None) -> None:
    headers: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        headers.append(request.headers.get("Authorization"))
        return web.json_response({"version": {"number": "3.7.0", "distribution": "opensearch"}})

    async with serving(answer) as port:
        engine = make_engine(replace(options, hosts=(f"http://127.0.0.1:{port}",), flavor="auto"))
        await engine.identify()
        with pytest.raises(EngineError):
            await engine.count("users")
        await engine.close()

    # Whether it takes an API key is asked without the key.
    assert headers == ([None] if options.api_key else []) + [expected] * 2


async def test_a_proxys_page_keeps_its_status_whatever_its_type() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=502, body=b"\xff\xfe", content_type="application/pdf")

    async with serving(answer) as port, make_client(ElasticsearchOptions((f"http://127.0.0.1:{port}",))) as client:
        with pytest.raises(ApiError) as caught:
            await client.info()

    assert caught.value.meta.status == 502


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:9200", "http://localhost", "ftp://localhost:21", "http://:9200", "http://h:x", ""]
)
def test_an_incomplete_host_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="expected a host as"):
        make_client(ElasticsearchOptions((host,)))


def test_credentials_in_a_host_are_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        make_client(ElasticsearchOptions(("https://user:s3cret@localhost:9200",)))
    assert "s3cret" not in str(caught.value)


def test_two_kinds_of_credentials_are_refused() -> None:
    with pytest.raises(ConfigError, match="API key or a user name"):
        make_client(ElasticsearchOptions(("http://localhost:9200",), username="u", api_key="k"))


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_loaded_is_told(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)

    with pytest.raises(ConfigError, match=r"ca\.pem"):
        make_client(ElasticsearchOptions(("https://localhost:9200",), ca_file=path))


async def test_certificates_are_checked_unless_told_otherwise(tmp_path: Path) -> None:
    certificate, context = self_signed(tmp_path)

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({}, headers=PRODUCT)

    async with serving(answer, context) as port:
        hosts = (f"https://127.0.0.1:{port}",)
        async with make_client(ElasticsearchOptions(hosts, ca_file=certificate)) as client:
            await client.info()
        async with make_client(ElasticsearchOptions(hosts, verify=False)) as client:
            await client.info()
        async with make_client(ElasticsearchOptions(hosts)) as client:
            with pytest.raises(TlsError):
                await client.info()


class serving:  # noqa: N801  reads as a verb
    """A server with one handler, for the time of a block."""

    def __init__(self, handler: object, context: ssl.SSLContext | None = None) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)  # type: ignore[arg-type]
        self._runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
        self._context = context

    async def __aenter__(self) -> int:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._context).start()
        port: int = self._runner.addresses[0][1]
        return port

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()


def self_signed(folder: Path) -> tuple[Path, ssl.SSLContext]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "cert.pem", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key_file)
    return certificate_file, context


async def test_the_fake_is_taken_for_elasticsearch(server: FakeElasticsearch) -> None:
    server.other = lambda _method, _path, _body: web.json_response({"ok": True}, headers=PRODUCT)
    async with make_client(ElasticsearchOptions((server.url,))) as client:
        assert (await client.info()).body == {"ok": True}


async def test_an_answer_that_is_cut_short_in_its_head_is_named_in_words() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nx-secret: 7\r\ncontent-type: applica")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    transport = make_transport(ElasticsearchOptions((f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}",)))
    async with server:
        with pytest.raises(EngineError) as raised, translated():
            await transport.perform_request("GET", "/")
    await transport.close()
    failure = raised.value.failure
    assert failure.error_type == "connection_error"
    assert failure.reason == "the connection was closed in the middle of an answer"
