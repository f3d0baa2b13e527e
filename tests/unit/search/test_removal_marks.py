"""Documents of removed rows are kept and marked: what is read, what is sent, and what becomes of each failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from cdc_daemon.model.document_operation import RemovalMark
from cdc_daemon.search import Operation, Outcome
from tests.unit.search.conftest import NOW, Bench
from tests.unit.search.fake import PRODUCT, all_failing, error, failing, refused

MARK = RemovalMark("deleted", "deleted_at")
AT = "2023-11-14T22:13:20.000Z"
"""The time of these tests, as it stands in documents."""


def marking(bench: Bench, document: str, version: int = NOW, *, routing: str | None = None) -> Operation:
    return replace(bench.delete(document, version), mark=MARK, routing=routing)


def holding(documents: dict[str, Any]) -> Callable[[str, str, Any], web.Response]:
    """Answer a multi-get from these documents: a source, a whole entry, or None for a missing one."""

    def reply(_method: str, path: str, body: Any) -> web.Response:
        assert path == "/_mget"
        docs = []
        for each in body["docs"]:
            found = documents.get(each["_id"])
            entry = found if isinstance(found, dict) and ("error" in found or "found" in found) else None
            if entry is None:
                entry = {"found": False} if found is None else {"found": True, "_version": 5, "_source": found}
            docs.append({"_index": "users-1", "_id": each["_id"], **entry})
        return web.json_response({"docs": docs}, headers=PRODUCT)

    return reply


async def test_the_whole_document_is_sent_back_with_the_mark_and_the_version_of_the_removal(bench: Bench) -> None:
    bench.server.other = holding({"a": {"name": "Asha", "big": 2**64 - 1, "nested": {"x": [1.5, None]}}})
    operation = marking(bench, "a", 77, routing="r")

    (result,) = await bench.writer().write([operation])

    assert result.outcome is Outcome.MARKED
    ((action, meta, document),) = bench.server.requests[0].actions
    assert (action, document) == (
        "index",
        {"name": "Asha", "big": 2**64 - 1, "nested": {"x": [1.5, None]}, "deleted": True, "deleted_at": AT},
    )
    assert (meta["version"], meta["version_type"], meta["routing"]) == (77, "external_gte", "r")
    assert meta["pipeline"] == "_none"
    assert bench.server.others[0][2] == {"docs": [{"_index": "users", "_id": "a", "routing": "r"}]}
    assert operation.body is None


async def test_without_a_time_field_only_the_mark_is_set(bench: Bench) -> None:
    bench.server.other = holding({"a": {"name": "Asha"}})
    await bench.writer().write([replace(marking(bench, "a"), mark=RemovalMark("gone"))])
    assert bench.server.requests[0].actions[0][2] == {"name": "Asha", "gone": True}


async def test_a_marked_document_keeps_the_time_of_its_first_mark(bench: Bench) -> None:
    before = {"name": "Asha", "deleted": True, "deleted_at": "2020-01-01T00:00:00.000Z"}
    bench.server.other = holding({"a": before})
    (result,) = await bench.writer().write([marking(bench, "a")])
    assert result.outcome is Outcome.MARKED
    assert bench.server.requests[0].actions[0][2] == before


async def test_a_missing_document_is_not_created_but_its_version_is_remembered(bench: Bench) -> None:
    bench.server.other = holding({})
    (result,) = await bench.writer().write([marking(bench, "a", 77)])
    assert result.outcome is Outcome.DELETED
    action, meta, _ = bench.server.requests[0].actions[0]
    assert (action, meta["version"], "pipeline" in meta) == ("delete", 77, False)


async def test_marks_and_other_operations_keep_their_places(bench: Bench) -> None:
    bench.server.other = holding({"b": {"n": 1}})
    written = [bench.index("a"), marking(bench, "b"), bench.delete("c"), marking(bench, "d"), bench.index("e")]
    results = await bench.writer().write(written)
    assert [result.outcome.name for result in results] == ["INDEXED", "MARKED", "DELETED", "DELETED", "INDEXED"]


async def test_many_documents_are_read_by_a_few_requests(bench: Bench) -> None:
    names = [f"d{number}" for number in range(250)]
    bench.server.other = holding({name: {"name": name} for name in names})
    results = await bench.writer().write([marking(bench, name) for name in names])
    assert {result.outcome for result in results} == {Outcome.MARKED}
    assert len(bench.server.others) == 3
    assert sorted(name for seen in bench.server.requests for name in seen.ids) == sorted(names)


async def test_documents_that_are_large_together_are_sent_apart(bench: Bench) -> None:
    bench.server.other = holding({name: {"text": "x" * 6000} for name in "abc"})
    results = await bench.writer(size=8000).write([marking(bench, name) for name in "abc"])
    assert {result.outcome for result in results} == {Outcome.MARKED}
    assert len(bench.server.requests) == 3


@pytest.mark.parametrize("status", [429, 503])
async def test_a_row_is_read_again_if_its_document_cannot_be_read(bench: Bench, status: int) -> None:
    bench.server.other = lambda *_: refused(status, "es_rejected_execution_exception" if status == 429 else "down")
    (result,) = await bench.writer().write([marking(bench, "a")])
    assert result.outcome is Outcome.REREAD
    assert not result.unanswered
    assert bench.server.requests == []


async def test_a_document_whose_shard_is_missing_stops_only_its_own_alias(bench: Bench) -> None:
    bench.server.other = holding(
        {"a": {"error": {"type": "no_shard_available_action_exception", "reason": "r"}}, "b": {"n": 1}}
    )
    bench.server.probe_script.append(all_failing(503, "unavailable_shards_exception"))
    writer = bench.writer()
    results = await writer.write([marking(bench, "a"), marking(bench, "b")])
    assert results[0].outcome is Outcome.REREAD
    assert writer.available


async def test_a_document_that_cannot_be_read_from_several_indices_is_dead(bench: Bench) -> None:
    reason = "alias [users] has more than one indices associated with it"
    bench.server.other = holding({"a": {"error": {"type": "illegal_argument_exception", "reason": reason}}})
    (result,) = await bench.writer().write([marking(bench, "a")])
    assert (result.outcome, result.reason) == (Outcome.DEAD, reason)


async def test_a_document_without_a_stored_source_is_dead(bench: Bench) -> None:
    bench.server.other = holding({"a": {"found": True, "_version": 5}})
    (result,) = await bench.writer().write([marking(bench, "a")])
    assert (result.outcome, result.error_type) == (Outcome.DEAD, "source_not_stored")


async def test_a_later_read_that_was_written_in_between_wins(bench: Bench) -> None:
    bench.server.other = holding({"a": {"n": 1}})
    seen = NOW + 5_000_000
    reason = f"[a]: version conflict, current version [{seen}] is higher than the one provided [{NOW - 9_000_000}]"
    bench.server.script.append(failing({"a": error(409, "version_conflict_engine_exception", reason)}))
    (result,) = await bench.writer(allowed_clock_difference=6.0).write([marking(bench, "a", NOW - 9_000_000)])
    assert (result.outcome, result.seen_version) == (Outcome.SUPERSEDED, seen)


async def test_a_mark_that_meets_overload_is_read_again_and_not_repeated(bench: Bench) -> None:
    bench.server.other = holding({"a": {"n": 1}})
    bench.server.script.append(all_failing(429, "es_rejected_execution_exception"))
    (result,) = await bench.writer().write([marking(bench, "a")])
    assert result.outcome is Outcome.REREAD
    assert len(bench.server.requests) == 1
