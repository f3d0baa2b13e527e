"""What a command does with tables and columns that it does not know, where it can ask."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from cdc_daemon.cli.segment_tools import mutations
from cdc_daemon.cli.segment_tools.mutations import MutationReader
from cdc_daemon.cli.segment_tools.tables import CommandTables, FixedTables, TableFilter
from cdc_daemon.commitlog.schema import Schema
from cdc_daemon.commitlog.section import Section
from cdc_daemon.commitlog.table import TableMetadata
from cdc_daemon.model.errors import CommitLogError, MutationError
from tests.segments import LATECOMERS, USERS, column, row, update
from tests.unit.commitlog.writer import entry, mutation

WIDER = TableMetadata(
    USERS.id,
    USERS.keyspace,
    USERS.name,
    USERS.partition_key,
    (),
    (),
    (*USERS.regular, column("w", "regular")),
    cdc=True,
)


class Cluster:
    """Tables that are others after the next refresh."""

    def __init__(self, now: Sequence[TableMetadata], later: Sequence[TableMetadata]) -> None:
        self.current = Schema(now)
        self.later = Schema(later)
        self.refreshed = 0

    def refresh(self) -> bool:
        self.refreshed += 1
        self.current = self.later
        return True


def _read(tables: CommandTables, *payloads: bytes) -> tuple[list[str], list[CommitLogError], MutationReader]:
    data = b"".join(map(entry, payloads))
    problems: list[CommitLogError] = []
    reader = MutationReader(tables, TableFilter(tables))
    found = reader.read(Section(data, 100, 100 + len(data), 100), segment="s", problems=problems)
    return [str(each.table) for one in found for each, _ in one.updates], problems, reader


def test_a_table_that_was_just_created_is_asked_for_once() -> None:
    cluster = Cluster([USERS], [USERS, LATECOMERS])
    late = mutation(update(LATECOMERS, "x", row()))
    found, problems, reader = _read(cluster, late, late, mutation(update(USERS, "a", row())))
    assert found == ["shop.latecomers", "shop.latecomers", "shop.users"]
    assert (problems, dict(reader.unknown), cluster.refreshed) == ([], {}, 1)


def test_a_table_that_stays_unknown_is_counted_and_asked_for_once() -> None:
    cluster = Cluster([USERS], [USERS])
    late = mutation(update(LATECOMERS, "x", row()))
    found, problems, reader = _read(cluster, late, late, mutation(update(USERS, "a", row())))
    assert found == ["shop.users"]
    assert (problems, dict(reader.unknown), cluster.refreshed) == ([], {LATECOMERS.id: 2}, 1)


def test_a_column_that_was_just_added_is_asked_for() -> None:
    cluster = Cluster([USERS], [WIDER])
    found, problems, _ = _read(cluster, mutation(update(WIDER, "x", row(name="w"))))
    assert (found, problems, cluster.refreshed) == (["shop.users"], [], 1)


def test_a_column_that_nobody_knows_is_a_problem_with_its_place_and_bytes() -> None:
    strange = mutation(update(WIDER, "x", row(name="w")))
    found, problems, _ = _read(FixedTables(Schema([USERS])), strange, mutation(update(USERS, "a", row())))
    (problem,) = problems
    assert found == ["shop.users"]
    assert isinstance(problem, MutationError)
    assert problem.where == {"segment": "s", "position": 100 + len(entry(strange))}
    assert problem.data == strange


def test_a_foreign_cluster_is_not_asked_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutations, "_QUESTIONS", 3)
    cluster = Cluster([USERS], [USERS])
    strangers = [
        TableMetadata(bytes([number] * 16), "shop", "x", USERS.partition_key, (), (), USERS.regular)
        for number in range(10)
    ]
    _, _, reader = _read(cluster, *(mutation(update(each, "x", row())) for each in strangers))
    assert cluster.refreshed == 3
    assert sum(reader.unknown.values()) == 10


def test_sizes_of_updates_and_entries_add_up() -> None:
    tables = FixedTables(Schema([USERS, LATECOMERS]))
    both = mutation(update(USERS, "x", row()), update(LATECOMERS, "x", row()))
    data = entry(both)
    (found,) = MutationReader(tables, TableFilter(tables)).read(
        Section(data, 0, len(data), 0), segment="s", problems=[]
    )
    assert found.size == len(data)
    assert sum(size for _, size in found.updates) == len(both) - 1, "but for the count of updates"
