from __future__ import annotations

from dataclasses import replace

from sandbox.compare import Comparison, Differences
from sandbox.demo.freshness import Percentiles
from sandbox.demo.summary import Outage, Summary


def _summary() -> Summary:
    return Summary(
        "5.0.6",
        "Elasticsearch 8.19.4",
        changes=21_345,
        renamed=14,
        seconds=71.2,
        undisturbed=Percentiles(200, 0.078, 0.141, 0.16),
        all=Percentiles(560, 0.082, 14.1, 17.2),
        daemon=Outage(3.1, 2.94),
        outage=Outage(17.4, 1.2),
        comparisons=[Comparison("user", 6_543, 6_543)],
    )


def test_the_summary_is_short_and_complete() -> None:
    lines = _summary().lines()

    assert lines[1:] == [
        "changes written     21,345 in 71 s, 300 a second",
        "renamed             14 organisations, shown in the documents of their users",
        "freshness           p50 78 ms, p99 141 ms, max 160 ms of 200 probes, undisturbed",
        "                    p50 82 ms, p99 14 s, max 17 s of 560 probes, outages and warm-up included",
        "daemon kill -9      caught up 2.9 s after 3.1 s without it, counted from its restart",
        "Elasticsearch down  caught up 1.2 s after 17 s without it, counted from its return",
        "compared            user: EQUAL, 6,543 rows, 6,543 documents",
    ]
    assert lines[0].startswith("servers             Cassandra 5.0.6, Elasticsearch 8.19.4, ")


def test_the_search_engine_is_named() -> None:
    lines = replace(_summary(), search="OpenSearch 2.19.5").lines()

    assert ", OpenSearch 2.19.5, " in lines[0]
    assert lines[6].startswith("OpenSearch down     caught up")


def test_writes_that_failed_are_told() -> None:
    summary = _summary()
    summary.failed = 3

    assert summary.lines()[1].endswith(", 3 requests not acknowledged")


def test_equal_is_only_what_was_compared() -> None:
    assert _summary().is_equal
    assert not Summary("5", "8").is_equal
    different = _summary()
    different.comparisons.append(Comparison("other", missing=Differences(1, ["a"])))
    assert not different.is_equal
    assert different.lines()[-2:] == ["  missing: 1", "    a"]
