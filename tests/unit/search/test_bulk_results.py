"""What becomes of each operation of a bulk request that was answered."""

from __future__ import annotations

import pytest
from aiohttp import web

from cdc_daemon.model.version_clock import HybridClock, VersionRange
from cdc_daemon.search import Outcome, RetryReason
from cdc_daemon.search.bulk_results import read_seen_version
from tests.unit.search.conftest import NOW, Bench
from tests.unit.search.fake import PRODUCT, Seen, error, failing

SECOND = 1_000_000


def conflict(document_id: str, seen: int, ours: int = NOW) -> dict[str, object]:
    reason = f"[{document_id}]: version conflict, current version [{seen}] is higher than the one provided [{ours}]"
    return error(409, "version_conflict_engine_exception", reason)


async def test_documents_go_as_they_are_with_external_versions(bench: Bench) -> None:
    operations = [bench.index("a", 7), bench.delete("b", 8)]

    results = await bench.writer().write(operations)

    assert [result.outcome for result in results] == [Outcome.INDEXED, Outcome.DELETED]
    (seen,) = bench.server.requests
    assert seen.query["require_alias"] == "true"
    assert seen.actions == [
        ("index", {"_index": "users", "_id": "a", "version": 7, "version_type": "external_gte"}, {"a": 1}),
        ("delete", {"_index": "users", "_id": "b", "version": 8, "version_type": "external_gte"}, None),
    ]
    assert [(documents, size) for _, documents, size in bench.observed.bulks] == [(2, seen.size)]


async def test_the_deletion_of_nothing_is_a_deletion(bench: Bench) -> None:
    bench.server.script.append(failing({"b": {"status": 404}}))

    results = await bench.writer().write([bench.index("a"), bench.delete("b")])

    assert [result.outcome for result in results] == [Outcome.INDEXED, Outcome.DELETED]
    assert results[1].status == 404


async def test_routing_values_are_sent(bench: Bench) -> None:
    operation = bench.index("a")
    routed = type(operation)("users", "a", NOW, b"{}", operation.read_at, routing='k"1')

    await bench.writer().write([routed])

    assert bench.server.requests[0].actions[0][1]["routing"] == 'k"1'


@pytest.mark.parametrize(
    ("status", "error_type", "reason"),
    [
        (400, "document_parsing_exception", "failed to parse field [a] of type [integer]"),
        (400, "mapper_parsing_exception", "failed to parse"),
        (400, "strict_dynamic_mapping_exception", "mapping set to strict"),
        (400, "illegal_argument_exception", "Limit of total fields [1000] has been exceeded"),
        (400, "illegal_argument_exception", "Document contains at least one immense term"),
        (400, "action_request_validation_exception", "Validation Failed"),
        (400, "an_exception_of_the_future", "this document is bad"),
    ],
)
async def test_a_document_that_cannot_be_taken_is_dead_and_its_neighbours_live(
    bench: Bench, status: int, error_type: str, reason: str
) -> None:
    bench.server.script.append(failing({"b": error(status, error_type, reason)}))
    writer = bench.writer()

    results = await writer.write([bench.index("a"), bench.index("b"), bench.delete("c")])

    assert [result.outcome for result in results] == [Outcome.INDEXED, Outcome.DEAD, Outcome.DELETED]
    assert (results[1].error_type, results[1].reason, results[1].status) == (error_type, reason, status)
    assert writer.available
    assert len(bench.server.requests) == 1


async def test_a_reason_tells_its_cause_but_not_without_end(bench: Bench) -> None:
    long = error(400, "document_parsing_exception", "x" * 10_000)
    caused = error(400, "document_parsing_exception", "failed to parse")
    caused["error"]["caused_by"] = {"type": "number_format_exception", "reason": 'For input string: "zz"'}
    bench.server.script.append(failing({"a": long, "b": caused}))

    first, second = await bench.writer().write([bench.index("a"), bench.index("b")])

    assert first.reason is not None
    assert len(first.reason) == 2000
    assert second.reason == 'failed to parse: For input string: "zz"'


@pytest.mark.parametrize(
    ("seen", "outcome", "counted"),
    [
        (NOW + 1, Outcome.REREAD, RetryReason.CONFLICT),
        (NOW + SECOND, Outcome.REREAD, RetryReason.CONFLICT),
        (NOW + SECOND + 1, Outcome.REREAD, RetryReason.FOREIGN_VERSION),
        (2**63 - 1, Outcome.REREAD, RetryReason.FOREIGN_VERSION),
    ],
)
async def test_a_conflict_with_a_version_of_this_moment_is_not_believed(
    bench: Bench, seen: int, outcome: Outcome, counted: RetryReason
) -> None:
    bench.server.script.append(failing({"a": conflict("a", seen)}))

    (result,) = await bench.writer().write([bench.index("a", NOW)])

    assert (result.outcome, result.seen_version) == (outcome, seen)
    assert bench.observed.retries == {counted: 1}


@pytest.mark.parametrize(
    ("seen", "outcome"),
    [
        (NOW - 10 * SECOND + 1, Outcome.REREAD),
        (NOW - 9 * SECOND, Outcome.REREAD),
        (NOW - 9 * SECOND + 1, Outcome.SUPERSEDED),
        (NOW + SECOND, Outcome.SUPERSEDED),
        (NOW + SECOND + 1, Outcome.REREAD),
    ],
)
@pytest.mark.parametrize("deletion", [False, True])
async def test_an_older_read_is_superseded_by_one_that_is_fresher_beyond_doubt(
    bench: Bench, seen: int, outcome: Outcome, deletion: bool
) -> None:
    ours = NOW - 10 * SECOND
    bench.server.script.append(failing({"a": conflict("a", seen, ours)}))
    operation = bench.delete("a", ours) if deletion else bench.index("a", ours)

    (result,) = await bench.writer().write([operation])

    assert (result.outcome, result.seen_version) == (outcome, seen)


@pytest.mark.parametrize("seen", [NOW - 5 * SECOND, NOW - SECOND])
async def test_a_version_that_a_clock_ahead_has_issued_supersedes_nothing(bench: Bench, seen: int) -> None:
    """An hour after a clock was ahead by an hour, its versions look like those of later reads."""
    ours = NOW - 10 * SECOND
    versions = HybridClock(now=lambda: NOW, untrusted=VersionRange(NOW - 6 * SECOND, NOW))
    bench.server.script.append(failing({"a": conflict("a", seen, ours)}))

    (result,) = await bench.writer(versions=versions).write([bench.index("a", ours)])

    assert (result.outcome, result.seen_version) == (Outcome.REREAD, seen)


async def test_nothing_is_sent_of_a_read_before_the_clock_stepped_back(bench: Bench) -> None:
    """Its version is that of the clock ahead, and would win over later reads."""
    wall = [NOW + 3600 * SECOND]
    versions = HybridClock(now=lambda: wall[0], monotonic=bench.monotonic)
    writer = bench.writer(versions=versions)
    before = bench.index("a", versions.next())
    wall[0] = NOW
    versions.step_back(lambda _bound, _untrusted: None)

    (result,) = await writer.write([before])
    assert (result.outcome, result.error_type) == (Outcome.REREAD, "body_too_old")
    (result,) = await writer.write([bench.index("a", versions.next())])
    assert result.outcome is Outcome.INDEXED


async def test_a_version_that_the_reason_does_not_tell_is_looked_up(bench: Bench) -> None:
    def look_up(method: str, path: str, body: object) -> web.Response:
        docs = [{"_id": "a", "found": True, "_version": NOW - 5 * SECOND}, {"_id": "b", "found": False}]
        return web.json_response({"docs": docs}, headers=PRODUCT)

    bench.server.other = look_up
    worded_anew = error(409, "version_conflict_engine_exception", "somebody was faster")
    bench.server.script.append(failing({"a": worded_anew, "b": worded_anew}))

    results = await bench.writer().write([bench.index(name, NOW - 10 * SECOND) for name in "abc"])

    assert [(result.outcome, result.seen_version) for result in results] == [
        (Outcome.SUPERSEDED, NOW - 5 * SECOND),
        (Outcome.REREAD, None),
        (Outcome.INDEXED, None),
    ]
    ((_, path, body),) = bench.server.others
    assert path.startswith("/_mget?")
    assert body == {"docs": [{"_index": "users", "_id": "a"}, {"_index": "users", "_id": "b"}]}


async def test_a_failed_look_up_leaves_the_version_unknown(bench: Bench) -> None:
    bench.server.script.append(failing({"a": error(409, "version_conflict_engine_exception", "?")}))

    (result,) = await bench.writer().write([bench.index("a")])

    assert (result.outcome, result.seen_version) == (Outcome.REREAD, None)


def test_an_id_cannot_pretend_a_version() -> None:
    name = "x]: version conflict, current version [5] is higher than the one provided [4"
    reason = f"[{name}]: version conflict, current version [9] is higher than the one provided [8]"

    assert read_seen_version(name, reason) == 9
    assert read_seen_version("x", reason) == 5  # the reason is not x's: whoever asks knows the id
    assert read_seen_version("y", reason) is None


async def test_a_fault_on_one_document_makes_nobody_wait(bench: Bench) -> None:
    bench.server.script.append(failing({"a": error(500, "null_pointer_exception")}))
    writer = bench.writer()

    results = await writer.write([bench.index("a"), bench.index("b")])

    assert [result.outcome for result in results] == [Outcome.REREAD, Outcome.INDEXED]
    assert results[0].status == 500
    assert writer.available
    assert bench.observed.retries == {RetryReason.SERVER_FAULT: 1}


async def test_nothing_to_write_asks_nothing(bench: Bench) -> None:
    assert await bench.writer().write([]) == []
    assert bench.server.requests == []


async def test_results_keep_their_order_over_many_requests(bench: Bench) -> None:
    async def reply(seen: Seen, request: web.Request) -> web.StreamResponse:
        return await failing(
            {name: error(400, "document_parsing_exception", name) for name in seen.ids if int(name) % 7 == 3}
        )(seen, request)

    bench.server.script.extend([reply] * 20)
    operations = [bench.index(str(number)) for number in range(100)]

    results = await bench.writer(documents=9).write(operations)

    for number, result in enumerate(results):
        if number % 7 == 3:
            assert (result.outcome, result.reason) == (Outcome.DEAD, str(number))
        else:
            assert result.outcome is Outcome.INDEXED
    assert len(bench.server.requests) == 12
    assert bench.server.most_under_way <= 4
