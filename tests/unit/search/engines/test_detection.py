"""Which engine answers: found at the first request, refused if it is not supported, and noticed when it changes."""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from cdc_daemon.search import ElasticsearchOptions, SearchEngine, make_engine
from cdc_daemon.search.engine import Product
from cdc_daemon.search.failure import EngineError, FailureKind, NoApiKeysError, UnsupportedEngineError

BULK = b'{"index":{"_index":"users","_id":"a"}}\n{}\n'
VENDOR = "application/vnd.elasticsearch+"


class Persona:
    """How one engine answers: its main page, whether it knows the media types of Elasticsearch 8, and its header."""

    demands: Any = None
    """The answer to a request without a login, if one is demanded."""

    def __init__(self, main: Any, *, status: int = 200, header: bool = False, vendor: bool = False) -> None:
        self.main = main
        self.status = status
        self.headers = {"X-Elastic-Product": "Elasticsearch"} if header else {}
        self.vendor = vendor


def elasticsearch(version: str) -> Persona:
    major, minor = (int(part) for part in version.split(".")[:2])
    main = {"name": "a", "version": {"number": version}, "tagline": "You Know, for Search"}
    return Persona(main, header=(major, minor) >= (7, 14), vendor=major >= 8)


def elasticsearch_secured(version: str) -> Persona:
    persona = elasticsearch(version)
    challenges = ['Bearer realm="security"', "ApiKey", 'Basic realm="security" charset="UTF-8"']
    persona.demands = {"error": {"type": "security_exception", "header": {"WWW-Authenticate": challenges}}}
    return persona


def opensearch_secured(version: str) -> Persona:
    persona = opensearch(version, distribution="opensearch")
    persona.demands = "Unauthorized"
    return persona


def opensearch(version: str, **release: Any) -> Persona:
    tagline = "The OpenSearch Project: https://opensearch.org/"
    return Persona({"name": "a", "version": {"number": version, **release}, "tagline": tagline})


class Address:
    """A port at which engines follow each other."""

    def __init__(self) -> None:
        self.persona = elasticsearch("8.19.4")
        self.port = 0
        self.seen: list[tuple[str, str]] = []
        self.logins: list[str | None] = []
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, persona: Persona) -> None:
        """Start an engine at the port, with new connections."""
        self.persona = persona
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def media_types(self, path: str) -> list[str]:
        return [media_type for seen, media_type in self.seen if seen == path]

    async def _answer(self, request: web.Request) -> web.Response:
        persona = self.persona
        media_type = request.headers.get("Content-Type", "")
        self.seen.append((request.path, media_type))
        self.logins.append(request.headers.get("Authorization"))
        if request.headers.get("Authorization") is None and persona.demands is not None:
            return web.json_response(persona.demands, status=401, headers=persona.headers)
        if VENDOR in media_type and not persona.vendor:
            error = f"Content-Type header [{media_type}] is not supported"
            return web.json_response({"error": error, "status": 406}, status=406)
        if request.path != "/":
            body: Any = {"errors": False, "items": [{"index": {"status": 201}}]}
        elif isinstance(persona.main, str):
            headers = {"Location": "/login"} if 300 <= persona.status < 400 else {}
            return web.Response(text=persona.main, content_type="text/html", status=persona.status, headers=headers)
        else:
            body = persona.main
        vendor = persona.vendor and VENDOR in request.headers.get("Accept", "")
        kind = f"{VENDOR}json" if vendor else "application/json"
        status = persona.status if request.path == "/" else 200
        return web.json_response(body, status=status, headers=persona.headers, content_type=kind)


@pytest.fixture
async def address() -> AsyncIterator[Address]:
    address = Address()
    yield address
    await address.stop()


@pytest.fixture
async def engine(address: Address) -> AsyncIterator[SearchEngine]:
    await address.start(address.persona)
    engine = make_engine(ElasticsearchOptions((address.url,), flavor="auto", request_timeout=5))
    yield engine
    await engine.close()


async def write(engine: SearchEngine) -> None:
    assert await engine.bulk(BULK, 1, seconds=5) is None


@pytest.mark.parametrize(
    ("persona", "product", "vendor"),
    [
        (elasticsearch("8.19.4"), Product("Elasticsearch", "8.19.4"), True),
        (elasticsearch("9.2.0"), Product("Elasticsearch", "9.2.0"), True),
        (elasticsearch("7.17.29"), Product("Elasticsearch", "7.17.29"), False),
        (elasticsearch("7.10.2"), Product("Elasticsearch", "7.10.2"), False),
        (opensearch("1.3.20", distribution="opensearch"), Product("OpenSearch", "1.3.20"), False),
        (opensearch("3.2.0", distribution="opensearch"), Product("OpenSearch", "3.2.0"), False),
        # compatibility.override_main_response_version, as on AWS: some releases leave the distribution out
        (opensearch("7.10.2", distribution="opensearch"), Product("OpenSearch", "7.10.2"), False),
        (opensearch("7.10.2"), Product("OpenSearch", "7.10.2"), False),
    ],
)
async def test_the_engine_that_answers_gets_its_client(
    address: Address, engine: SearchEngine, persona: Persona, product: Product, *, vendor: bool
) -> None:
    address.persona = persona
    with capture_logs() as logs:
        await write(engine)
        await write(engine)
    assert engine.product == product
    assert [VENDOR in media_type for media_type in address.media_types("/_bulk")] == [vendor] * 2
    assert len(address.media_types("/")) == 1
    (found,) = [entry for entry in logs if entry["event"] == "search.engine_found"]
    assert (found["engine"], found["version"]) == product


@pytest.mark.parametrize(
    ("persona", "found"),
    [
        (elasticsearch("6.8.23"), "found Elasticsearch 6.8.23"),
        (elasticsearch("7.9.3"), "found Elasticsearch 7.9.3"),
        (elasticsearch("10.0.0"), "found Elasticsearch 10.0.0"),
        (opensearch("1.2.4", distribution="opensearch"), "found OpenSearch 1.2.4"),
        (opensearch("4.0.0", distribution="opensearch"), "found OpenSearch 4.0.0"),
        (Persona({"version": {"number": "²"}}), "found Elasticsearch ²"),
        (Persona({"version": {"number": "8" * 5000}}), "found Elasticsearch 888"),
        (Persona({"couchdb": "Welcome", "version": "3.3.3"}), "found something that is no search engine"),
        (Persona([]), "found something that is no search engine"),
        (Persona("<html>Welcome to nginx!</html>"), "found something that is no search engine"),
        (Persona("<html>403 Forbidden</html>", status=403), "found something that is no search engine"),
        (Persona("<html>404 Not Found</html>", status=404), "found something that is no search engine"),
        (Persona("", status=302), "found something that is no search engine"),  # Kibana redirects to its login
    ],
)
async def test_an_engine_that_is_not_supported_is_refused_by_name(
    address: Address, engine: SearchEngine, persona: Persona, found: str
) -> None:
    address.persona = persona
    with pytest.raises(UnsupportedEngineError) as caught:
        await engine.identify()
    assert found in caught.value.message
    assert "expected Elasticsearch 7.10 to 9 and OpenSearch 1.3 to 3" in caught.value.message
    assert len(str(caught.value)) < 300
    assert not caught.value.retryable
    assert caught.value.certain is ("no search engine" not in found)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.message, again.certain) == (caught.value.message, caught.value.certain)
    with pytest.raises(EngineError) as refused:
        await engine.bulk(BULK, 1, seconds=5)
    assert refused.value.failure.kind is FailureKind.OPERATOR
    assert not refused.value.failure.unanswered
    assert address.media_types("/_bulk") == []


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(("header", "name"), [(True, "Elasticsearch"), (False, "OpenSearch")])
async def test_a_login_that_may_not_ask_falls_back_to_the_header(
    address: Address, engine: SearchEngine, status: int, name: str, *, header: bool
) -> None:
    refusal = {"error": {"type": "security_exception", "reason": "no"}, "status": status}
    address.persona = Persona(refusal, status=status, header=header, vendor=header)
    await write(engine)
    assert engine.product == Product(name, "")
    assert [VENDOR in media_type for media_type in address.media_types("/_bulk")] == [header]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (elasticsearch("8.19.4"), opensearch("2.19.5", distribution="opensearch")),
        (opensearch("2.19.5", distribution="opensearch"), elasticsearch("9.2.0")),
        (elasticsearch("7.10.2"), elasticsearch("8.19.4")),
        (elasticsearch("8.19.4"), elasticsearch("9.2.0")),
    ],
)
async def test_an_engine_that_another_one_replaces_is_noticed_after_the_lost_connection(
    address: Address, engine: SearchEngine, before: Persona, after: Persona
) -> None:
    address.persona = before
    await write(engine)
    await address.stop()
    with pytest.raises(EngineError):
        await write(engine)
    await address.start(after)
    with capture_logs() as logs:
        await write(engine)
    assert engine.product is not None
    assert engine.product.version == after.main["version"]["number"]
    assert VENDOR in address.media_types("/_bulk")[-1] or not after.vendor
    (found,) = [entry for entry in logs if entry["event"] == "search.engine_found"]
    assert before.main["version"]["number"] in found["before"]


async def test_an_engine_that_refuses_the_client_is_asked_again_what_it_is(
    address: Address, engine: SearchEngine
) -> None:
    """A proxy may keep its connections while the engine behind it is replaced."""
    await write(engine)
    address.persona = opensearch("2.19.5", distribution="opensearch")
    with pytest.raises(EngineError) as refused:
        await write(engine)
    assert refused.value.failure.kind is FailureKind.OPERATOR, "no document is to blame"
    await write(engine)
    assert engine.product == Product("OpenSearch", "2.19.5")


async def test_an_upgrade_that_refuses_nothing_is_noticed_when_asked(address: Address, engine: SearchEngine) -> None:
    await write(engine)
    address.persona = elasticsearch("9.2.0")
    assert await engine.identify() == Product("Elasticsearch", "9.2.0") == engine.product


@pytest.mark.parametrize("page", ["<html>503 Service Unavailable</html>", "Kibana server is not ready yet"])
async def test_a_server_that_may_come_back_is_waited_for(address: Address, engine: SearchEngine, page: str) -> None:
    address.persona = Persona(page, status=503)
    with pytest.raises(EngineError) as caught:
        await engine.identify()
    assert caught.value.retryable


async def test_a_question_without_an_answer_leaves_the_request_unsent(address: Address, engine: SearchEngine) -> None:
    address.persona = Persona({"error": "busy"}, status=503)
    with pytest.raises(EngineError) as caught:
        await write(engine)
    assert not caught.value.failure.unanswered
    assert address.media_types("/_bulk") == []


@pytest.mark.parametrize(
    "persona",
    [
        opensearch("2.19.5", distribution="opensearch"),
        elasticsearch("7.17.29"),
        elasticsearch("7.10.2"),
        Persona([]),
        Persona("", status=302),
        Persona("<html>404 Not Found</html>", status=404),
    ],
)
async def test_the_client_of_elasticsearch_alone_refuses_others(address: Address, persona: Persona) -> None:
    await address.start(persona)
    engine = make_engine(ElasticsearchOptions((address.url,), flavor="elasticsearch"))
    try:
        with pytest.raises(UnsupportedEngineError, match=r"expected Elasticsearch"):
            await engine.identify()
    finally:
        await engine.close()


@pytest.mark.parametrize("flavor", ["elasticsearch", "opensearch"])
async def test_a_configured_engine_says_its_release_too(address: Address, flavor: Any) -> None:
    persona = elasticsearch("8.19.4") if flavor == "elasticsearch" else opensearch("2.19.5", distribution="opensearch")
    await address.start(persona)
    engine = make_engine(ElasticsearchOptions((address.url,), flavor=flavor))
    product = await engine.identify()
    assert product == engine.product
    assert product.version == persona.main["version"]["number"]
    await engine.close()


@pytest.mark.parametrize("flavor", ["auto", "opensearch"])
@pytest.mark.parametrize(
    ("persona", "key", "taken"),
    [
        (elasticsearch("8.19.4"), "YWJj", True),
        (elasticsearch_secured("8.19.4"), "YWJj", True),
        (elasticsearch_secured("7.10.2"), "YWJj", True),
        (elasticsearch_secured("7.17.28"), "os_abc", False),
        (Persona({"version": {"number": "7.10.2", "build_flavor": "oss"}}), "YWJj", False),
        (opensearch("2.19.5", distribution="opensearch"), "YWJj", False),
        (opensearch("2.19.5", distribution="opensearch"), "os_abc", False),
        (opensearch("3.7.0", distribution="opensearch"), "os_abc", True),
        (opensearch("3.7.0", distribution="opensearch"), "YWJj", False),
        (opensearch_secured("2.19.5"), "YWJj", False),
        (opensearch_secured("3.7.0"), "os_abc", True),
    ],
)
async def test_an_api_key_is_only_sent_to_an_engine_that_takes_it(
    address: Address, persona: Persona, key: str, flavor: Any, *, taken: bool
) -> None:
    await address.start(persona)
    engine = make_engine(ElasticsearchOptions((address.url,), flavor=flavor, api_key=key))
    try:
        if taken:
            await write(engine)
            assert address.logins[-1] == f"ApiKey {key}"
            return
        with pytest.raises(NoApiKeysError):
            await engine.identify()
        for attempt in (engine.identify(), write(engine)):
            with pytest.raises(EngineError, match="does not take it") as caught:
                await attempt
            assert key not in str(caught.value)
            assert "username and password_file" in str(caught.value.hint)
            again = pickle.loads(pickle.dumps(caught.value))
            assert (str(again), again.hint) == (str(caught.value), caught.value.hint)
        assert set(address.logins) == {None}
    finally:
        await engine.close()


async def test_an_engine_without_api_keys_that_replaces_another_does_not_get_the_key(address: Address) -> None:
    await address.start(elasticsearch_secured("8.19.4"))
    engine = make_engine(ElasticsearchOptions((address.url,), flavor="auto", api_key="YWJj"))
    try:
        await write(engine)
        await address.stop()
        await address.start(opensearch_secured("2.19.5"))
        address.logins.clear()
        with pytest.raises(NoApiKeysError):
            await engine.identify()
        with pytest.raises(EngineError, match="it was not sent"):
            await write(engine)
        assert set(address.logins) == {None}
    finally:
        await engine.close()
