"""The parts of a torture run that need no server: the plan, the load's statements, the projection, sum and report."""

from __future__ import annotations

import itertools
import random
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bench.torture import report
from bench.torture.changes import Changes
from bench.torture.comparison import Compared
from bench.torture.plan import KINDS, LASTS, STEADY, make_plan
from bench.torture.projection import identity, plain, project
from bench.torture.run import Event, Outcome
from bench.torture.shapes import shapes
from bench.torture.watch import Account, Sample, read_account


@pytest.mark.parametrize("seed", range(20))
def test_the_same_seed_gives_the_same_plan(seed: int) -> None:
    plan = make_plan(seed, 1800)
    assert plan == make_plan(seed, 1800)
    assert plan[: len(make_plan(seed, 600))] == make_plan(seed, 600)
    assert plan != make_plan(seed + 1, 1800)
    assert plan[0].at == STEADY
    assert all(before.at < after.at for before, after in itertools.pairwise(plan))
    assert all(LASTS[0] <= fault.seconds <= LASTS[1] and fault.at + fault.seconds <= 1800 for fault in plan)


def test_each_kind_comes_before_one_comes_again() -> None:
    plan = make_plan(7, 3600)
    assert len(plan) > 3 * len(KINDS)
    for begin in range(0, 3 * len(KINDS), len(KINDS)):
        assert {fault.kind for fault in plan[begin : begin + len(KINDS)]} == set(KINDS)


def test_a_plan_of_some_kinds_has_no_other() -> None:
    assert {fault.kind for fault in make_plan(1, 600, ["daemon.kill", "index.closed"])} == {
        "daemon.kill",
        "index.closed",
    }


def test_the_same_seed_gives_the_same_load_and_every_kind_of_statement() -> None:
    def statements() -> list[tuple[str, object]]:
        chance, changes = random.Random(3), Changes(list(shapes(vectors=True)))
        return [changes.make(chance, 10**15) for _ in range(3000)]

    made = statements()
    assert made == statements()
    texts = [statement for statement, _ in made]
    for part in (
        "JSON",
        "USING TIMESTAMP",
        "TTL",
        "IF NOT EXISTS",
        "IF EXISTS",
        "BEGIN BATCH",
        "UNLOGGED",
        "DELETE",
        ">=",
    ):
        assert any(part in text for text in texts), part
    tables = Counter(shape.name for shape in shapes(vectors=True) for text in texts if f".{shape.name} " in text)
    assert min(tables.values()) > 100, tables
    assert all(text.count("%s") == len(values) for text, values in made)  # type: ignore[arg-type]


def test_a_document_is_computed_from_a_row_alone() -> None:
    rows: list[dict[str, Any]] = [
        {"id": 1, "c": "a:b", "at": datetime(2026, 2, 3, 4, 5, 6, 7000), "n": Decimal("1E+3"), "v": float("nan")},  # noqa: DTZ001
        {"id": 2, "c": None, "at": None, "n": None, "v": 1.5},
        {"id": 3, "c": "x", "at": None, "n": None, "v": b"\x01\xff"},
    ]
    assert project(rows, ["id", "c"]) == {
        r"1:a\:b": {"id": 1, "c": "a:b", "at": "2026-02-03T04:05:06.007Z", "n": "1000"},
        "3:x": {"id": 3, "c": "x", "v": "Af8="},
    }
    assert project([{"id": 1, "hidden": True}, {"id": 2, "hidden": None}], ["id"], "hidden != true") == {"2": {"id": 2}}
    assert identity([r"a\b"]) == r"a\b"
    assert plain({1: [None, (1, "x")]}) == {"1": [None, [1, "x"]]}


METRICS = """
cdc_daemon_mutations_total{keyspace="k",table="t",scope="row"} 7.0
cdc_daemon_mutations_total{keyspace="k",table="t",scope="partition"} 1.0
cdc_daemon_signals_taken_total 10.0
cdc_daemon_signals_coalesced_total 2.0
cdc_daemon_keys_settled_total{scope="row"} 6.0
cdc_daemon_keys_settled_total{scope="partition"} 1.0
cdc_daemon_keys_forgotten_total 0.0
cdc_daemon_pending 1.0
cdc_daemon_documents_total{alias="a",outcome="indexed"} 4.0
cdc_daemon_documents_total{alias="a",outcome="deleted"} 2.0
cdc_daemon_poll_watermark_timestamp_seconds{keyspace="k",table="t"} NaN
"""


def test_the_sum_of_the_counters() -> None:
    account = read_account(METRICS)
    assert account == Account(8, 10, 2, 6, 1, 0, 1, {"indexed": 4, "deleted": 2})
    assert account.mistakes == []
    (lost,) = replace(account, taken=11).mistakes
    assert "11 signals taken, 10 coalesced" in lost
    (uncounted,) = replace(account, outcomes={"indexed": 5}).mistakes
    assert "6 rows settled, 5 documents" in uncounted


def outcome_of_a_run() -> Outcome:
    first, second = make_plan(5, 60)[:2]
    return Outcome(
        seed=5,
        minutes=1.0,
        versions={"cdc-daemon": "1", "Cassandra": "5"},
        events=[Event(first, "x", 10.0, 12.0, 14.5), Event(second, "<y>", 20.0, 21.0)],
        samples=[Sample(0.0, 0.2, 80_000_000, 30, 12), Sample(2.0, 5.0), Sample(4.0, 0.1, 90_000_000, 31, 12)],
        accounts=[read_account(METRICS), read_account(METRICS)],
        compared=[Compared("t", 3, 3, [], [], [], [])],
    )


def test_the_report_shows_faults_recoveries_and_the_sum(tmp_path: Path) -> None:
    outcome = outcome_of_a_run()
    report.write(outcome, tmp_path / "torture.md")
    page = (tmp_path / "torture.md").read_text(encoding="utf-8")
    assert "**EQUAL**: 1 minutes, seed 5." in page
    assert "20 taken = 4 coalesced + 12 rows + 2 partitions + 0 forgotten + 2 pending" in page
    assert "12 rows = 4 deleted + 8 indexed." in page
    assert f"| {outcome.events[0].fault.kind} | 1 | 2.5 s | 2.5 s |" in page
    assert "(torture.svg)" in page
    assert max(map(len, page.splitlines())) <= 130
    picture = ET.fromstring((tmp_path / "torture.svg").read_text(encoding="utf-8"))
    assert len(picture.findall(".//{http://www.w3.org/2000/svg}polyline")) == 3
    assert report.plain(outcome)["equal"]


@pytest.mark.parametrize(
    "changed",
    [
        {"compared": []},
        {"problems": ["the daemon ended by itself"]},
        {"compared": [Compared("t", 3, 3, [], ["surplus"], [], ["  surplus: row None"])]},
    ],
)
def test_a_run_with_a_problem_or_without_a_comparison_is_not_equal(changed: dict[str, list[object]]) -> None:
    assert outcome_of_a_run().is_equal
    assert not replace(outcome_of_a_run(), **changed).is_equal  # type: ignore[arg-type]
