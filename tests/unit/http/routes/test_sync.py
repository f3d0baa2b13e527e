"""`POST …/sync` against the contract."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from starlette.types import ASGIApp, Message

from cdc_daemon.config import HttpSettings
from cdc_daemon.model.document_operation import DocumentOutcome, Outcome
from cdc_daemon.model.errors import Trouble
from cdc_daemon.model.signal import TableName
from cdc_daemon.sources.requests import Refresh
from cdc_http import create_app
from tests.unit.http.asking import DOCUMENTED, Answer, ask, ask_json, rows
from tests.unit.http.fake import LENIENT, FakeDaemon

JSON = {"Content-Type": "application/json"}
UUID = "2bc4a3c4-7c92-4d52-a5f5-5dd0a3c1f7bd"


@pytest.fixture
def daemon() -> FakeDaemon:
    return FakeDaemon()


@pytest.fixture
def app(daemon: FakeDaemon) -> ASGIApp:
    return create_app(daemon)


@pytest.fixture
def lenient(daemon: FakeDaemon) -> ASGIApp:
    return create_app(daemon, LENIENT)


@pytest.mark.parametrize("path", ["/api/data/v1/index/sync", "/v1/data/sync", "/sync"])
async def test_the_envelope_of_a_request_that_was_done(app: ASGIApp, path: str) -> None:
    answer = await ask_json(app, rows("user", "u1", "u2"), path=path)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d:\d{3}\+0000", found.pop("ts"))
    assert found == {
        "id": "api.data.sync",
        "ver": "v1",
        "params": {"resmsgid": "c76f0a7e", "msgid": "c76f0a7e", "err": None, "status": "SUCCESS", "errmsg": None},
        "responseCode": "OK",
        "result": {
            "response": "SUCCESS",
            "node_id": "node-1",
            "esSyncResponse": {"u1": True, "u2": True},
            "failures": {},
            "counts": {"indexed": 2, "deleted": 0, "missing": 0},
        },
    }


async def test_what_live_callers_send_is_enough_when_lenient(lenient: ASGIApp) -> None:
    """The bulk re-sync job's request, as recorded: no params, no header but the content type and a gateway's token."""
    recorded = {"request": {"operationType": "sync", "objectType": "user", "objectIds": ["95e4942d"]}}
    answer = await ask_json(lenient, recorded, headers={**JSON, "Authorization": "bearer x", "x-request-id": "r-1"})
    assert answer.status == 200
    assert answer.json()["params"]["msgid"] == "r-1"
    assert answer.result["esSyncResponse"] == {"95e4942d": True}


async def test_the_request_id_goes_before_the_message_id_and_both_may_be_absent(lenient: ASGIApp) -> None:
    both = {**JSON, "x-request-id": "r", "X-msgid": "m"}
    assert (await ask_json(lenient, rows("user", "u"), headers=both)).json()["params"]["resmsgid"] == "r"
    made = (await ask_json(lenient, rows("user", "u"), headers=JSON)).json()["params"]
    assert made["msgid"] == made["resmsgid"]
    assert re.fullmatch(r"[0-9a-f-]{36}", made["msgid"])


@pytest.mark.parametrize("missing", list(DOCUMENTED))
async def test_the_first_missing_header_is_named(app: ASGIApp, daemon: FakeDaemon, missing: str) -> None:
    headers = {name: value for name, value in DOCUMENTED.items() if name != missing}
    answer = await ask_json(app, rows("user", "u"), headers=headers)
    assert answer.error == (400, "UOS_0061", f"Mandatory header parameter {missing} is missing.")
    assert not daemon.pipeline.asked


async def test_headers_are_asked_for_in_the_documented_order(app: ASGIApp) -> None:
    answer = await ask_json(app, rows("user", "u"), headers={"Authorization": "Bearer x"})
    assert "Content-Type" in answer.error[2]


def form(*fields: tuple[str, str]) -> bytes:
    parts = [f'--XX\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields]
    return "".join([*parts, "--XX--\r\n"]).encode()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json; charset=utf-8", json.dumps(rows("user", "u1", "u2")).encode()),
        (
            "application/x-www-form-urlencoded",
            b"params=%7B%7D&request=%7B%22objectType%22%3A%22user%22%2C%22objectIds%22%3A%5B%22u1%22%2C%22u2%22%5D%7D",
        ),
        (
            "application/x-www-form-urlencoded",
            b"params=&request[objectType]=user&request[objectIds][]=u1&request%5BobjectIds%5D%5B%5D=u2",
        ),
        (
            "multipart/form-data; boundary=XX",
            form(("params", "{}"), ("request", '{"objectType":"user","objectIds":["u1","u2"]}')),
        ),
        (
            "multipart/form-data; boundary=XX",
            form(
                ("params", "{}"),
                ("request[objectType]", "user"),
                ("request[objectIds]", "u1"),
                ("request[objectIds]", "u2"),
            ),
        ),
    ],
)
async def test_three_content_types(app: ASGIApp, content_type: str, body: bytes) -> None:
    answer = await ask_json(app, body, headers={**DOCUMENTED, "Content-Type": content_type})
    assert answer.status == 200, answer.body
    assert answer.result["esSyncResponse"] == {"u1": True, "u2": True}


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (b"", "UOS_0028", "body"),
        (b"{", "UOS_0028", "body"),
        (b"null", "UOS_0028", "body"),
        (b"[]", "UOS_0028", "body"),
        (b'{"a":"\\ud800"}', "UOS_0028", "body"),
        (b"\xff\xfe", "UOS_0028", "body"),
        (b"[" * 100_000, "UOS_0028", "body"),
        ({"request": {"objectType": "user", "objectIds": ["u"]}}, "UOS_0003", "params"),
        ({"params": None, "request": {}}, "UOS_0003", "params"),
        ({"params": [], "request": {}}, "UOS_0003", "params"),
        ({"params": {}}, "UOS_0028", "request"),
        ({"params": {}, "request": None}, "UOS_0028", "request"),
        ({"params": {}, "request": {"objectIds": ["u"]}}, "UOS_0003", "objectType"),
        ({"params": {}, "request": {"objectType": 5, "objectIds": ["u"]}}, "UOS_0003", "objectType"),
        (rows("User", "u"), "UOS_0072", "objectType"),
        ({"params": {}, "request": {"objectType": "user"}}, "UOS_0003", "objectIds"),
        ({"params": {}, "request": {"objectType": "user", "objectIds": "u"}}, "UOS_0003", "objectIds"),
        (rows("user"), "UOS_0003", "objectIds"),
        (rows("user", *map(str, range(20_000))), "UOS_0003", "objectIds"),
        (rows("user", "u", 7), "UOS_0003", "objectIds[1]"),
        (rows("user", None), "UOS_0003", "objectIds[0]"),
        (rows("user", ""), "UOS_0003", "objectIds[0].id"),
        (rows("device", UUID, "no-uuid"), "UOS_0003", "objectIds[1].id"),
        (rows("batch", {"courseid": "c", "batchid": []}), "UOS_0003", "objectIds[0].batchid"),
        (rows("batch", {"course": "c"}), "UOS_0003", "objectIds[0]"),
        (rows("user", "u", operationType="backfill"), "UOS_0028", "operationType"),
        (rows("user", "u", operationType=1), "UOS_0028", "operationType"),
    ],
)
async def test_bad_input_is_named_and_nothing_is_half_done(
    app: ASGIApp, daemon: FakeDaemon, body: Any, code: str, field: str
) -> None:
    answer = await ask_json(app, body)
    assert answer.error[:2] == (400, code)
    assert answer.result["field"] == field
    assert answer.json()["responseCode"] == "CLIENT_ERROR"
    assert "{" not in answer.error[2]
    assert not daemon.pipeline.asked


async def test_the_message_for_a_wrong_type_has_its_placeholders_filled(app: ASGIApp) -> None:
    answer = await ask_json(app, {"params": {}, "request": {"objectIds": ["u"]}})
    assert answer.error[2] == "Data type of objectType should be String."
    answer = await ask_json(app, rows("nothing", "u"))
    assert answer.error[2] == "Invalid Object Type."


@pytest.mark.parametrize("content_type", ["text/plain", "application/jsonp", "image/png"])
async def test_other_content_types_are_refused(app: ASGIApp, content_type: str) -> None:
    answer = await ask_json(app, rows("user", "u"), headers={**DOCUMENTED, "Content-Type": content_type})
    assert answer.error[:2] == (415, "UOS_0061")


async def test_forms_that_are_none(app: ASGIApp) -> None:
    for content_type, body in [
        ("multipart/form-data", b"--XX\r\n"),
        ("multipart/form-data; boundary=XX", b"nothing"),
        (
            "multipart/form-data; boundary=XX",
            b'--XX\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\nx',
        ),
        ("multipart/form-data; boundary=XX; charset=no-such", form(("request", "{}"))),
        ("application/x-www-form-urlencoded", b"request=%FF"),
        ("application/x-www-form-urlencoded", b"request=%7B"),
        ("application/x-www-form-urlencoded", b"&".join([b"a=b"] * 11_000)),
    ]:
        answer = await ask_json(app, body, headers={**DOCUMENTED, "Content-Type": content_type})
        assert answer.status == 400, body


async def test_ids_named_twice_are_done_once(app: ASGIApp, daemon: FakeDaemon) -> None:
    upper = UUID.upper()
    answer = await ask_json(app, rows("device", UUID, upper, UUID))
    assert answer.result["esSyncResponse"] == {UUID: True, upper: True}
    assert answer.result["counts"]["indexed"] == 1
    assert len(daemon.pipeline.asked) == 1


async def test_composite_ids(app: ASGIApp, daemon: FakeDaemon) -> None:
    answer = await ask_json(app, rows("batch", "c1:b1", {"courseId": "c2", "BATCHID": "b2"}, "c3", {"courseid": "c4"}))
    assert answer.result["esSyncResponse"] == {"c1:b1": True, "c2:b2": True, "c3": True, "c4": True}
    table = TableName("sunbird", "course_batch")
    assert [tuple(key) for key in daemon.pipeline.asked] == [
        (table, b"c1", (b"b1",)),
        (table, b"c2", (b"b2",)),
        (table, b"c3", None),
        (table, b"c4", None),
    ]


async def test_one_id_that_fails_does_not_fail_its_neighbours(app: ASGIApp, daemon: FakeDaemon) -> None:
    reason = DocumentOutcome("user_alias", "bad", Outcome.DEAD, "document_parsing_exception", "no date")
    daemon.pipeline.outcomes = {
        b"bad": reason,
        b"gone": DocumentOutcome("user_alias", "gone", Outcome.DELETED),
        b"never": DocumentOutcome("user_alias", "never", Outcome.DELETED, existed=False),
        b"other": DocumentOutcome("another_alias", "other", Outcome.DEAD, "x", "y"),
    }
    answer = await ask_json(app, rows("user", "good", "bad", "gone", "never", "other"))
    assert answer.status == 200
    assert answer.result["response"] == "PARTIAL"
    assert answer.result["esSyncResponse"] == {"good": True, "bad": False, "gone": True, "never": True, "other": True}
    assert answer.result["failures"] == {"bad": "bad: document_parsing_exception: no date"}
    assert answer.result["counts"] == {"indexed": 1, "deleted": 1, "missing": 1}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", []),
        ("?refresh=false", []),
        ("?refresh=true", [("user_alias", Refresh.NOW)]),
        ("?refresh", [("user_alias", Refresh.NOW)]),
        ("?refresh=wait_for", [("user_alias", Refresh.SHARED)]),
    ],
)
async def test_refresh(app: ASGIApp, daemon: FakeDaemon, query: str, expected: list[Any]) -> None:
    assert (await ask_json(app, rows("user", "u"), path="/sync" + query)).status == 200
    assert daemon.refresher.refreshed == expected


@pytest.mark.parametrize("query", ["refresh=now", "refresh=true&refresh=true"])
async def test_a_refresh_that_is_none(app: ASGIApp, query: str) -> None:
    answer = await ask_json(app, rows("user", "u"), path=f"/sync?{query}")
    assert (answer.error[:2], answer.result["field"]) == ((400, "UOS_0028"), "refresh")


async def test_a_body_that_is_too_large(daemon: FakeDaemon) -> None:
    app = create_app(daemon, HttpSettings(max_body=1000))
    answer = await ask(app, "POST", "/sync", headers={**DOCUMENTED, "content-length": "10000000"})
    assert answer.error[:2] == (413, "PAYLOAD_TOO_LARGE")
    answer = await ask(app, "POST", "/sync", headers=DOCUMENTED, body=[b" " * 400] * 4)
    assert answer.error[:2] == (413, "PAYLOAD_TOO_LARGE")
    assert answer.headers["connection"] == "close"


async def test_a_body_that_comes_too_slowly(daemon: FakeDaemon) -> None:
    answer = await _send_slowly(create_app(daemon, HttpSettings(body_timeout=0.05)))
    assert answer.error[:2] == (408, "REQUEST_TIMEOUT")
    assert answer.headers["connection"] == "close"


async def _send_slowly(app: ASGIApp) -> Answer:
    messages: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: Message) -> None:
        messages.append(message)

    headers = [(name.lower().encode(), value.encode()) for name, value in DOCUMENTED.items()]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": "/sync",
        "raw_path": b"/sync", "root_path": "", "scheme": "http", "query_string": b"", "headers": headers,
    }  # fmt: skip
    await app(scope, receive, send)
    return Answer(messages)


async def test_more_requests_than_may_wait(daemon: FakeDaemon) -> None:
    app = create_app(daemon, HttpSettings(max_requests=2, max_waiting=0, sync_timeout=0.2))
    daemon.pipeline.held = Trouble("cassandra", "no answer")
    answers = await asyncio.gather(*(ask_json(app, rows("user", "u")) for _ in range(3)))
    assert sorted(answer.status for answer in answers) == [429, 503, 503]
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.error == (429, "TOO_MANY_REQUESTS", "0 requests are already waiting.")
    assert refused.headers["retry-after"] == "1"
    daemon.pipeline.held = None
    assert (await ask_json(app, rows("user", "u"))).status == 200


async def test_a_request_waits_for_its_turn_and_its_wait_is_part_of_its_time(daemon: FakeDaemon) -> None:
    app = create_app(daemon, HttpSettings(max_requests=1, sync_timeout=30))
    daemon.pipeline.held = Trouble("cassandra", "no answer")
    first = asyncio.create_task(ask_json(app, rows("user", "u")))
    second = asyncio.create_task(ask_json(app, rows("user", "v")))
    await asyncio.sleep(0.05)
    assert len(daemon.pipeline.asked) == 1
    given: list[float] = []
    settle = daemon.service.replicate

    async def watched(*arguments: Any, seconds: float, **more: Any) -> Any:
        given.append(seconds)
        return await settle(*arguments, seconds=seconds, **more)

    daemon.service.replicate = watched  # type: ignore[assignment, method-assign]
    daemon.pipeline.held = None
    first.cancel()
    assert (await second).status == 200
    assert 15 <= given[0] < 30
    await asyncio.gather(first, return_exceptions=True)


async def test_a_turn_that_does_not_come_in_time(daemon: FakeDaemon) -> None:
    app = create_app(daemon, HttpSettings(max_requests=1, sync_timeout=0.4))
    daemon.pipeline.held = Trouble("cassandra", "no answer")
    answers = await asyncio.gather(*(ask_json(app, rows("user", "u")) for _ in range(2)))
    assert sorted(answer.status for answer in answers) == [429, 503]
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.error[2] == "The request waited for more than 0.2 seconds."


async def test_cassandra_away(daemon: FakeDaemon) -> None:
    app = create_app(daemon, HttpSettings(sync_timeout=0.05))
    daemon.pipeline.held = Trouble("cassandra", "NoHostAvailable 10.0.0.7:9042")
    answer = await ask_json(app, rows("user", "u", "v"))
    assert answer.error[:2] == (503, "SERVICE_UNAVAILABLE")
    assert answer.json()["responseCode"] == "SERVICE_UNAVAILABLE"
    assert answer.headers["retry-after"] == "5"
    assert answer.result["service"] == "cassandra"
    assert answer.result["esSyncResponse"] == {}
    assert b"10.0.0.7" not in answer.body
    assert len(daemon.pipeline.withdrawn) == 2


async def test_elasticsearch_known_to_be_away_is_told_at_once(app: ASGIApp, daemon: FakeDaemon) -> None:
    daemon.health.known = Trouble("elasticsearch", "connection_error")
    answer = await ask_json(app, rows("user", "u"))
    assert (answer.status, answer.result["service"]) == (503, "elasticsearch")
    assert not daemon.pipeline.asked


async def test_an_index_that_takes_no_writes_is_named(app: ASGIApp, daemon: FakeDaemon) -> None:
    reason = "user_alias (index user-1) takes no writes: index_closed_exception: closed"
    daemon.health.known = Trouble("elasticsearch", reason, "user_alias")
    answer = await ask_json(app, rows("user", "u"))
    assert (answer.status, answer.result["service"], answer.result["alias"]) == (503, "elasticsearch", "user_alias")
    assert answer.error[2] == f"The search engine takes no writes for user: {reason}; 0 ids are done."
    assert answer.headers["retry-after"] == "5"
    assert not daemon.pipeline.asked


async def test_the_daemon_starts_or_stops(app: ASGIApp, daemon: FakeDaemon) -> None:
    daemon.sync = None
    answer = await ask_json(app, rows("user", "u"))
    assert (answer.status, answer.result["service"]) == (503, "daemon")


async def test_a_stop_ends_requests_under_way(app: ASGIApp, daemon: FakeDaemon) -> None:
    daemon.jobs = object()  # type: ignore[assignment]  # not used by what is settled now
    daemon.pipeline.held = Trouble("cassandra", "no answer")
    asking = asyncio.create_task(ask_json(app, rows("user", "u")))
    await asyncio.sleep(0.01)
    daemon.service.stop()
    answer = await asyncio.wait_for(asking, 5)
    assert (answer.status, answer.result["service"]) == (503, "daemon")


async def test_a_mistake_of_ours_leaks_nothing(app: ASGIApp, daemon: FakeDaemon) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("secret")

    daemon.service.parse_ids = fail  # type: ignore[assignment, method-assign]
    answer = await ask_json(app, rows("user", "u"))
    assert answer.error == (500, "UOS_0069", "server error")
    assert answer.json()["responseCode"] == "SERVER_ERROR"
    assert b"secret" not in answer.body


@pytest.mark.parametrize(("method", "path"), [("GET", "/sync"), ("DELETE", "/v1/data/sync"), ("POST", "/sync/1")])
async def test_other_methods_are_refused_in_the_envelope(app: ASGIApp, method: str, path: str) -> None:
    answer = await ask(app, method, path)
    assert answer.error[:2] == (405, "METHOD_NOT_ALLOWED")


async def test_requests_are_counted(app: ASGIApp, daemon: FakeDaemon) -> None:
    await ask_json(app, rows("user", "u"))
    await ask_json(app, b"")
    count = daemon.metrics.http_requests.labels
    assert count("sync", "200")._value.get() == 1
    assert count("sync", "400")._value.get() == 1
