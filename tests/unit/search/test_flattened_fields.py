"""A document that is refused because of an entry of a map is written with this map aside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from cdc_daemon.document.bookkeeping import whole_source
from cdc_daemon.search import Operation, Outcome
from cdc_daemon.search.flattened_fields import without_unfit_values
from tests.unit.search.conftest import Bench
from tests.unit.search.fake import error, failing

REFUSED = error(400, "illegal_argument_exception", "immense term")


def deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = {"k": value}
    return value


def holding(**document: Any) -> Operation:
    return Operation("users", "a", 1, orjson.dumps(document), 0.0, flattened=("labels", "more"))


@pytest.mark.parametrize(
    "value",
    [
        {"a": "x" * 33_000},
        {"k" * 33_000: "x"},
        {"k" * 20_000: "x" * 20_000},
        {"k" * 20_000: {"k" * 20_000: None}},
        {"a\0b": "x"},
        [{"a": "b"}, {"a": {"b\0": 1}}],
        {"a": ["b", "\u20ac" * 11_000]},
        deep(16),
    ],
)
def test_a_map_that_does_not_fit_moves_aside_and_is_found_whole_again(value: Any) -> None:
    before = {"id": "a", "labels": value, "more": {"a": "b"}}
    made = without_unfit_values(holding(**before))
    assert made is not None
    assert made.body is not None
    after = orjson.loads(made.body)
    assert after == {"id": "a", "more": {"a": "b"}, "cdc_unindexed": {"labels": value}}
    assert whole_source(after) == before
    assert made.flattened == ()


@pytest.mark.parametrize("value", [None, {}, [], {"": "x"}, {".": "a"}, {"a": 1, "b": None, "c": True}, deep(15)])
def test_nothing_moves_where_every_entry_fits(value: Any) -> None:
    assert without_unfit_values(holding(labels=value, other="x" * 40_000)) is None


def test_only_documents_with_maps_are_looked_at() -> None:
    whole = holding(labels={"a": "x" * 33_000})
    assert without_unfit_values(replace(whole, flattened=())) is None
    assert without_unfit_values(replace(whole, body=None)) is None
    assert without_unfit_values(replace(whole, body=b"[")) is None


@pytest.mark.parametrize("aside", [None, "text", ["labels"]])
def test_a_field_of_another_program_stays(aside: Any) -> None:
    source = {"id": "a", "cdc_unindexed": aside}
    assert whole_source(source) == source


async def test_only_the_refused_document_is_sent_again(bench: Bench) -> None:
    body = orjson.dumps({"labels": {"a": "x" * 33_000}})
    unfit = replace(bench.index("a"), body=body, flattened=("labels",))
    other = replace(bench.index("b"), flattened=("labels",))
    bench.server.script.append(failing({"a": REFUSED, "b": REFUSED}))
    results = await bench.writer().write([unfit, other, bench.index("c")])
    assert [result.outcome for result in results] == [Outcome.INDEXED, Outcome.DEAD, Outcome.INDEXED]
    assert [seen.ids for seen in bench.server.requests] == [["a", "b", "c"], ["a"]]
    assert bench.server.requests[1].actions[0][2] == {"cdc_unindexed": {"labels": {"a": "x" * 33_000}}}
    assert unfit.body == body


async def test_a_document_that_is_refused_again_is_dead(bench: Bench) -> None:
    unfit = replace(bench.index("a"), body=orjson.dumps({"labels": {"a\0": 1}}), flattened=("labels",))
    bench.server.script.extend([failing({"a": REFUSED})] * 2)
    (result,) = await bench.writer().write([unfit])
    assert result.outcome is Outcome.DEAD
    assert len(bench.server.requests) == 2
