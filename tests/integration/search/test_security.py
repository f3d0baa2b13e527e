"""Security: logins and API keys on the engines that can be started with it, and on one without."""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from cdc_daemon.app.startup import find_engine
from cdc_daemon.cli.checks.elasticsearch import check_elasticsearch
from cdc_daemon.cli.checks.finding import Finding
from cdc_daemon.config import ElasticsearchSettings, MappingSettings
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.model.signal import TableName
from cdc_daemon.search.engine import SearchEngine
from cdc_daemon.search.engines.client import ElasticsearchOptions
from cdc_daemon.search.engines.detection import make_engine
from cdc_daemon.search.failure import EngineError, FailureKind, NoApiKeysError
from sandbox import FAST_START, Sandbox, SearchNode
from sandbox.security import PASSWORD, SECURED, USER

MAPPINGS = {"user": MappingSettings(table=TableName("k", "t"), alias="users")}
KEY_OF_ELASTICSEARCH = base64.b64encode(b"id:unknown").decode()


@pytest.fixture(scope="module", params=SECURED)
def server(request: pytest.FixtureRequest) -> Iterator[SearchNode]:
    with Sandbox(cassandra=None, search=request.param, secured=True, java_options=FAST_START) as own:
        yield own.elasticsearch


@asynccontextmanager
async def connected(server: SearchNode, **login: Any) -> AsyncIterator[SearchEngine]:
    engine = make_engine(ElasticsearchOptions((server.url,), flavor="auto", **login))
    try:
        yield engine
    finally:
        await engine.close()


async def findings(server: SearchNode, **login: Any) -> dict[str, Finding]:
    settings = ElasticsearchSettings(hosts=(server.url,), **login)
    return {finding.name: finding for finding in await check_elasticsearch(settings, MAPPINGS)}


async def passing(server: SearchNode, **login: Any) -> dict[str, Finding]:
    """Return the findings when all are "ok". The check waits five seconds for an answer; a busy server needs more."""
    for more in reversed(range(30)):
        found = await findings(server, **login)
        failed = [f"{finding.name}: {finding.found}" for finding in found.values() if finding.status != "ok"]
        if not failed:
            return found
        assert more, failed
        await asyncio.sleep(2)
    raise AssertionError


async def write(engine: SearchEngine, key: str) -> None:
    """Make an index behind an alias, and write and find a document with it."""
    await engine.create_index("users-1", settings={"number_of_replicas": 0}, mappings={}, aliases={"users": {}})
    try:
        body = b'{"index":{"_index":"users","_id":"%s","version":1,"version_type":"external_gte"}}\n{}\n' % key.encode()
        assert await engine.bulk(body, 1, seconds=30) is None
        await engine.refresh("users")
        assert [found.id async for page in engine.scan("users") for found in page] == [key]
    finally:
        await engine.delete_index("users-1")


async def test_a_login_by_name_and_password(server: SearchNode) -> None:
    async with connected(server, username=USER, password=PASSWORD) as engine:
        product = await engine.identify()
        assert (product.name.lower(), product.version) == (server.engine.name, server.version)
        await write(engine, "basic")


async def test_a_missing_or_wrong_login_is_refused(server: SearchNode) -> None:
    for login in ({}, {"username": USER, "password": "wrong"}):
        async with connected(server, **login) as engine:
            with pytest.raises(EngineError) as caught:
                await engine.index_exists("users")
            assert (caught.value.failure.status, caught.value.failure.kind) == (401, FailureKind.OPERATOR)
            assert "credentials" in str(caught.value.hint)


async def test_check_finds_the_login_and_its_privileges(server: SearchNode) -> None:
    found = await passing(server, username=USER, password=SecretStr(PASSWORD))
    assert server.version in found["elasticsearch.version"].found
    assert ("privileges.user" in found) == (server.engine.name == "elasticsearch")
    (refused,) = (await findings(server, username=USER, password=SecretStr("wrong1234"))).values()
    assert (refused.name, refused.status) == ("elasticsearch.reachable", "fail")
    assert "wrong1234" not in str(refused)


async def test_an_api_key_is_taken_or_never_sent(
    server: SearchNode, record_property: Callable[[str, object], None]
) -> None:
    record_property("observed", "taken" if server.engine.name == "elasticsearch" else "refused, not sent")
    if server.engine.name == "elasticsearch":
        key = created_key(server)
        async with connected(server, api_key=key) as engine:
            assert (await engine.identify()).version == server.version
            await write(engine, "key")
        await passing(server, api_key=SecretStr(key))
        async with connected(server, api_key=KEY_OF_ELASTICSEARCH) as engine:
            with pytest.raises(EngineError) as refused:
                await engine.index_exists("users")
            assert refused.value.failure.status == 401
        return
    async with connected(server, api_key=KEY_OF_ELASTICSEARCH) as engine:
        with pytest.raises(NoApiKeysError):
            await engine.identify()
        with pytest.raises(ConfigError, match="OpenSearch does not take it"):
            await find_engine(engine, ElasticsearchSettings(hosts=(server.url,)))
    (finding,) = (await findings(server, api_key=SecretStr(KEY_OF_ELASTICSEARCH))).values()
    assert (finding.status, "does not take it" in finding.found) == ("fail", True)
    assert "username and password_file" in str(finding.mend)


def created_key(server: SearchNode) -> str:
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{server.url}/_security/api_key", b'{"name": "daemon"}', headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        encoded: str = json.load(answer)["encoded"]
    return encoded
