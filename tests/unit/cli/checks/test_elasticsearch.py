"""Logins and their privileges, against a stand-in: the sandbox's Elasticsearch has no security module."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cdc_daemon.cli.checks.elasticsearch import check_elasticsearch, check_versions, judge_dependents
from cdc_daemon.cli.checks.finding import Finding
from cdc_daemon.config import ElasticsearchSettings, MappingSettings
from cdc_daemon.model.signal import TableName
from cdc_daemon.search.engine import EngineInfo
from cdc_daemon.search.index_swap import write_index
from cdc_daemon.search.searched_field import SearchedField
from cdc_http import HttpServer


@pytest.mark.parametrize(
    ("engine", "versions", "status"),
    [
        ("Elasticsearch", ["8.19.4"], "ok"),
        ("Elasticsearch", ["9.0.0", "9.0.0"], "ok"),
        ("Elasticsearch", ["8.19.4", "9.1.0"], "ok"),
        ("Elasticsearch", ["7.17.0"], "ok"),
        ("Elasticsearch", ["8.19.4", "7.9.3"], "fail"),
        ("Elasticsearch", ["6.8.23"], "fail"),
        ("Elasticsearch", ["10.0.0"], "fail"),
        ("Elasticsearch", ["odd"], "fail"),
        ("Elasticsearch", ["²"], "fail"),
        ("Elasticsearch", ["8" * 5000], "fail"),
        ("Elasticsearch", [], "warn"),
        ("OpenSearch", ["1.3.20"], "ok"),
        ("OpenSearch", ["2.19.5", "3.2.0"], "ok"),
        ("OpenSearch", ["1.2.4"], "fail"),
        ("OpenSearch", ["4.0.0"], "fail"),
        ("OpenSearch", [], "warn"),
    ],
)
def test_versions(engine: str, versions: list[str], status: str) -> None:
    finding = check_versions(EngineInfo(engine, versions))
    assert finding.status == status
    assert engine in finding.found
    assert status == "ok" or "OpenSearch 1.3 to 3" in str(finding.mend)


@pytest.mark.parametrize(
    ("behind", "index"),
    [
        ({"a": {}}, "a"),
        ({"a": {"is_write_index": True}}, "a"),
        ({"a": {"is_write_index": False}}, None),
        ({"a": {}, "b": {}}, None),
        ({"a": {}, "b": {"is_write_index": True}}, "b"),
        ({"a": {"is_write_index": False}, "b": {"is_write_index": False}}, None),
    ],
)
def test_the_index_an_alias_writes_to(behind: dict[str, dict[str, Any]], index: str | None) -> None:
    assert write_index(behind) == index


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([SearchedField("a"), SearchedField("b.keyword")], "ok"),
        ([SearchedField("a"), SearchedField("b", by_words=True, problem="b: by words")], "warn"),
        ([SearchedField("c", problem="no c", answers=False), SearchedField("b", by_words=True, problem="b")], "fail"),
    ],
)
def test_fields_by_which_dependents_are_found(fields: list[SearchedField], status: str) -> None:
    finding = judge_dependents("user", fields)
    assert (finding.name, finding.status) == ("dependents.user", status)
    assert all(field.problem is None or field.problem in finding.found for field in fields)


@pytest.mark.parametrize(("scheme", "mend"), [("http", "https"), ("https", "ca_file")])
async def test_a_server_that_is_down_is_one_finding(unused_tcp_port: int, scheme: str, mend: str) -> None:
    options = ElasticsearchSettings(hosts=(f"{scheme}://127.0.0.1:{unused_tcp_port}",), request_timeout=1)
    (finding,) = await check_elasticsearch(options, {})
    assert finding.name == "elasticsearch.reachable"
    assert finding.status == "fail"
    assert mend in str(finding.mend)


async def test_a_certificate_file_that_is_none(tmp_path: Any) -> None:
    options = ElasticsearchSettings(hosts=("https://127.0.0.1:1",), ca_file=tmp_path / "absent.pem")
    (finding,) = await check_elasticsearch(options, {})
    assert finding.status == "fail"
    assert "PEM" in finding.found


MAPPINGS = {"user": MappingSettings(table=TableName("k", "t"), alias="users")}
_HEADERS = {
    "X-Elastic-Product": "Elasticsearch",
    "content-type": "application/vnd.elasticsearch+json;compatible-with=8",
}


class Secured:
    """Answers what the check asks, for a user `daemon` with the password `right`."""

    def __init__(self) -> None:
        self.lacking: set[str] = set()
        self.has_security = True
        self.may_ask = True
        self.version = "8.19.4"
        self.app = Starlette(
            routes=[
                Route("/", self.main),
                Route("/_nodes/http", self.nodes),
                Route("/_security/user/_has_privileges", self.privileges, methods=["POST"]),
                Route("/_alias/{name}", self.absent),
                Route("/{name}", self.absent),
            ]
        )
        self.port = 0

    async def main(self, _request: Request) -> Response:
        if not self.may_ask:
            return self._answer({"error": {"type": "security_exception", "reason": "no"}, "status": 403}, 403)
        return self._answer({"version": {"number": self.version}, "tagline": "You Know, for Search"})

    async def nodes(self, request: Request) -> Response:
        if not self.may_ask:
            return self._answer({"error": {"type": "security_exception", "reason": "no"}, "status": 403}, 403)
        if request.headers.get("authorization") != "Basic ZGFlbW9uOnJpZ2h0":
            error = {"type": "security_exception", "reason": "unable to authenticate user [daemon]"}
            return self._answer({"error": error, "status": 401}, 401)
        return self._answer({"nodes": {"a": {"version": "8.19.4"}}})

    async def privileges(self, request: Request) -> Response:
        if not self.has_security:
            return self._answer({"error": "no handler found for uri [/_security]"}, 400)
        (asked,) = (await request.json())["index"]
        granted = {right: right not in self.lacking for right in asked["privileges"]}
        return self._answer({"username": "daemon", "index": dict.fromkeys(asked["names"], granted)})

    async def absent(self, request: Request) -> Response:
        return self._answer({"error": f"alias [{request.path_params['name']}] missing", "status": 404}, 404)

    def _answer(self, body: dict[str, Any], status: int = 200) -> Response:
        return JSONResponse(body, status_code=status, headers=_HEADERS)

    async def check(self, password: str = "right") -> dict[str, Finding]:
        options = ElasticsearchSettings(
            hosts=(f"http://127.0.0.1:{self.port}",), username="daemon", password=SecretStr(password)
        )
        return {finding.name: finding for finding in await check_elasticsearch(options, MAPPINGS)}


@pytest.fixture
async def secured() -> AsyncIterator[Secured]:
    stand_in = Secured()
    server = HttpServer(stand_in.app, host="127.0.0.1", port=0)
    await server.start()
    stand_in.port = server.port
    yield stand_in
    await server.stop()


async def test_a_login_with_every_privilege(secured: Secured) -> None:
    findings = await secured.check()
    assert {finding.status for finding in findings.values()} == {"ok"}
    assert findings["privileges.user"].found.endswith("on users and users-000001")


async def test_a_login_that_lacks_some(secured: Secured) -> None:
    secured.lacking = {"delete", "maintenance"}
    finding = (await secured.check())["privileges.user"]
    assert finding.status == "fail"
    assert "delete, maintenance" in finding.found


async def test_a_server_without_security(secured: Secured) -> None:
    secured.has_security = False
    findings = await secured.check()
    assert "privileges.user" not in findings
    assert findings["index.user"].status == "ok"


async def test_a_login_that_may_not_ask_for_the_version(secured: Secured) -> None:
    secured.may_ask = False
    findings = await secured.check()
    assert findings["elasticsearch.version"].status == "warn"
    assert findings["elasticsearch.version"].found == "Elasticsearch: no node reports its version"
    assert findings["privileges.user"].status == "ok"


async def test_an_engine_that_is_not_supported_is_one_finding(secured: Secured) -> None:
    secured.version = "6.8.23"
    (finding,) = (await secured.check()).values()
    assert (finding.name, finding.status) == ("elasticsearch.version", "fail")
    assert finding.found.endswith(
        "expected Elasticsearch 7.10 to 9 and OpenSearch 1.3 to 3, found Elasticsearch 6.8.23"
    )
    assert finding.mend


async def test_a_wrong_password(secured: Secured) -> None:
    (finding,) = (await secured.check("wrong1234")).values()
    assert finding.name == "elasticsearch.reachable"
    assert "unable to authenticate" in finding.found
    assert "credentials" in str(finding.mend)
    assert "wrong1234" not in str(finding)
