"""A fault that an operator has to fix: no document is lost, the log names the fix, and the request is retried."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from cdc_daemon.search import Outcome, RetryReason
from tests.unit.search.conftest import Bench, wait_back
from tests.unit.search.fake import all_failing, error, failing, refusing, saying

ITEMS = [
    (404, "index_not_found_exception", "[require_alias] request flag is [true] and [users] is not an alias"),
    (400, "index_closed_exception", "closed"),
    (403, "cluster_block_exception", "index [users-1] blocked by: [FORBIDDEN/8/index write (api)]"),
    (403, "security_exception", "action is unauthorized for user"),
    (400, "illegal_argument_exception", "no write index is defined for alias [users]"),
    (400, "illegal_argument_exception", "only write ops with an op_type of create are allowed in data streams"),
    (400, "illegal_argument_exception", "pipeline with id [x] does not exist"),
    (400, "routing_missing_exception", "routing is required for [users-1]/[a]"),
]

REQUESTS = [
    (401, "security_exception", "unable to authenticate user"),
    (403, "security_exception", "action is unauthorized"),
    (403, "cluster_block_exception", "blocked by: [FORBIDDEN/6/cluster read-only (api)]"),
    (400, "illegal_argument_exception", "request [/_bulk] contains unrecognized parameter: [x]"),
    (400, "illegal_argument_exception", "explicit index in bulk is not allowed"),
    (405, "http_405", "Incorrect HTTP method"),
]


@pytest.mark.parametrize(("status", "error_type", "reason"), ITEMS)
async def test_an_item_met_by_an_operators_fault_is_read_again_and_never_dead(
    bench: Bench, status: int, error_type: str, reason: str
) -> None:
    bench.server.script.append(failing({"a": error(status, error_type, reason)}))
    bench.server.probe_script.extend([all_failing(status, error_type, reason)] * 2)
    writer = bench.writer()

    with capture_logs() as logs:
        results = await writer.write([bench.index("a"), bench.index("b", alias="orders")])
        assert writer.available
        await wait_back(writer)

    assert [result.outcome for result in results] == [Outcome.REREAD, Outcome.INDEXED]
    assert (results[0].error_type, results[0].reason) == (error_type, reason)
    assert bench.observed.retries == {RetryReason.REFUSED: 1}
    assert [entry["event"] for entry in logs] == ["elasticsearch.alias_unavailable", "elasticsearch.alias_available"]
    assert logs[0]["hint"]
    assert logs[0]["reason"] == reason
    assert logs[0]["alias"] == "users"
    assert bench.observed.changes == []
    assert len(bench.server.probes) == 3


@pytest.mark.parametrize(("status", "error_type", "reason"), REQUESTS)
async def test_a_request_met_by_an_operators_fault_is_read_again_and_never_dead(
    bench: Bench, status: int, error_type: str, reason: str
) -> None:
    bench.server.script.append(refusing(status, error_type, reason))
    bench.server.probe_script.append(refusing(status, error_type, reason))
    writer = bench.writer()

    results = await writer.write([bench.index("a"), bench.index("b")])

    assert [result.outcome for result in results] == [Outcome.REREAD] * 2
    assert not writer.available
    await writer.wait_available()
    assert len(bench.server.probes) == 2


@pytest.mark.parametrize("status", [406, 410])
async def test_a_server_that_refuses_the_client_makes_no_document_a_dead_letter(bench: Bench, status: int) -> None:
    """OpenSearch answers so to the client of Elasticsearch 8."""
    error = f'{{"error":"Content-Type header [application/vnd.elasticsearch+x-ndjson] ...","status":{status}}}'
    bench.server.script.append(saying(status, error, "application/json"))
    writer = bench.writer()

    results = await writer.write([bench.index("a"), bench.index("b")])

    assert [(result.outcome, result.error_type) for result in results] == [(Outcome.REREAD, f"http_{status}")] * 2
    assert len(bench.server.requests) == 1
    await writer.wait_available()


async def test_something_that_is_no_elasticsearch_is_told(bench: Bench) -> None:
    bench.server.script.append(saying(200, '{"errors":false,"items":[]}', "application/json"))
    writer = bench.writer()

    (result,) = await writer.write([bench.index("a")])

    assert result.outcome is Outcome.REREAD
    assert result.reason is not None
    assert "not Elasticsearch" in result.reason


async def test_a_fault_behind_an_outage_is_said_too(bench: Bench) -> None:
    bench.server.script.append(refusing(503, "exception"))
    closed = all_failing(400, "index_closed_exception", "closed")
    bench.server.probe_script.extend([refusing(503, "exception"), closed, closed])
    writer = bench.writer()

    with capture_logs() as logs:
        await writer.write([bench.index("a")])
        await writer.wait_available()
        await wait_back(writer)

    assert [(entry["event"], entry.get("error_type")) for entry in logs] == [
        ("elasticsearch.unavailable", "exception"),
        ("elasticsearch.alias_unavailable", "index_closed_exception"),
        ("elasticsearch.available", None),
        ("elasticsearch.alias_available", None),
    ]


async def test_deletions_alone_are_accompanied_by_a_guard(bench: Bench) -> None:
    results = await bench.writer().write(
        [bench.delete("a"), bench.delete("b"), bench.delete("c", alias="orders"), bench.index("d", alias="orders")]
    )

    assert [result.outcome for result in results] == [Outcome.DELETED] * 3 + [Outcome.INDEXED]
    (seen,) = bench.server.requests
    assert [(action, meta["_index"]) for action, meta, _ in seen.actions] == [
        ("delete", "users"),
        ("delete", "users"),
        ("delete", "orders"),
        ("index", "orders"),
        ("update", "users"),
    ]
    assert bench.observed.bulks[0][1] == 4


@pytest.mark.parametrize("with_index", [False, True])
async def test_a_deletion_is_not_believed_where_the_alias_is_none(bench: Bench, with_index: bool) -> None:
    missing = error(404, "index_not_found_exception", "[users] is not an alias")
    bench.server.script.append(failing({"b": missing, "cdc-daemon-guard": missing, "a": {"status": 200}}))
    bench.server.probe_script.extend([all_failing(404, "index_not_found_exception")] * 1000)
    writer = bench.writer()
    operations = [bench.delete("a"), *([bench.index("b")] if with_index else [])]

    results = await writer.write([*operations, bench.delete("c", alias="orders"), bench.index("d", alias="orders")])

    outcomes = [result.outcome for result in results]
    assert outcomes[: len(operations)] == [Outcome.REREAD] * len(operations)
    assert outcomes[len(operations) :] == [Outcome.DELETED, Outcome.INDEXED]
    assert writer.available
    assert list(writer.troubled) == ["users"]
