"""Mutations of several tables, some of them unknown."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.commitlog.keys import read_keys
from cdc_daemon.commitlog.mutation import read_updates
from cdc_daemon.commitlog.schema import Schema, TableMetadata
from cdc_daemon.commitlog.update import Cell, PartitionUpdate
from cdc_daemon.model.errors import CommitLogError, UnknownTableError
from tests.unit.commitlog.inserts import KEY, NOW, insert, section_of
from tests.unit.commitlog.strategies import SLOW, column, tables, updates
from tests.unit.commitlog.writer import UpdateWriter, mutation, table, vint

KNOWN = table("known", [KEY], regular=[column("v", "text"), column("w", "text")])
OTHER = table("other", [KEY], [column("c", "int", "clustering")], [column("v", "text")])
STRANGE = table("strange", [KEY], [column("c", "text", "clustering")], [column("v", "text"), column("w", "blob")])
STRANGER = table("stranger", [KEY], regular=[column("v", "text")])
SCHEMA = Schema([KNOWN, OTHER])


def of(some: TableMetadata) -> PartitionUpdate:
    return insert(some, *(b"aaaa" for _ in some.clustering))


@pytest.mark.parametrize("order", list(permutations([KNOWN, OTHER, STRANGE, STRANGER])))
def test_neighbours_of_unknown_tables_are_never_lost(order: tuple[TableMetadata, ...]) -> None:
    section = section_of(mutation(*map(of, order)))
    wanted = [str(some) for some in order if some in (KNOWN, OTHER)]
    batch = read_keys(section, SCHEMA, segment="s")
    assert [str(each.table) for each in batch.updates] == wanted
    assert not batch.problems
    # Where unknown tables come last, all but the first of them have no visible beginning.
    assert set(batch.unknown) <= {STRANGE.id, STRANGER.id}
    assert batch.unknown
    assert batch.skipped == sum(batch.unknown.values())
    problems: list[CommitLogError] = []
    unknown: dict[bytes, int] = {}
    found = read_updates(section, SCHEMA, segment="s", problems=problems, unknown=unknown)
    assert [str(each.table) for each in found] == wanted
    assert unknown == batch.unknown
    assert not problems


@pytest.mark.slow
@SLOW
@given(st.data())
def test_neighbours_of_any_unknown_table_are_never_lost(data: st.DataObject) -> None:
    key = data.draw(st.binary(min_size=1, max_size=20))
    known, strange = data.draw(tables("known")), data.draw(tables("strange"))
    written = [data.draw(updates(known, key)), data.draw(updates(strange, key))]
    order = data.draw(st.permutations(written))
    problems: list[CommitLogError] = []
    found = list(read_updates(section_of(mutation(*order)), Schema([known]), segment="s", problems=problems))
    assert not problems
    assert [each._replace(position=0) for each in found] == written[:1]


def test_an_unknown_table_alone_is_passed_over_and_counted() -> None:
    batch = read_keys(section_of(mutation(of(STRANGE)), mutation(of(KNOWN))), SCHEMA, segment="s")
    assert len(batch.updates) == 1
    assert batch.unknown == {STRANGE.id: 1}
    assert (batch.mutations, batch.skipped, batch.problems) == (2, 1, [])


def test_a_mutation_with_an_indistinguishable_neighbour_is_a_problem() -> None:
    payload = mutation(of(STRANGE), of(KNOWN))
    broken = payload[:-1] + b"\x20" + payload[-1:]  # the known table's update no longer ends where it should
    batch = read_keys(section_of(broken), SCHEMA, segment="s")
    (problem,) = batch.problems
    assert isinstance(problem, UnknownTableError)
    assert problem.data == broken
    assert STRANGE.id.hex() in problem.message


def test_bytes_that_look_like_a_neighbour_are_not_taken_for_one() -> None:
    decoy = mutation(of(KNOWN))[1:-10]
    strange = insert(STRANGE, b"aaaa", w=Cell(decoy, NOW))
    batch = read_keys(section_of(mutation(strange, of(OTHER))), SCHEMA, segment="s")
    assert [str(each.table) for each in batch.updates] == ["ks.other"]
    assert not batch.problems


def test_a_mutation_whose_updates_have_different_keys_is_none() -> None:
    other = of(OTHER)._replace(partition_key=b"another")
    batch = read_keys(section_of(mutation(of(KNOWN), other)), SCHEMA, segment="s")
    (problem,) = batch.problems
    assert "same partition key" in problem.message


def test_a_mutation_of_nothing_is_none() -> None:
    batch = read_keys(section_of(b"\x00" * 12), SCHEMA, segment="s")
    assert len(batch.problems) == 1


def test_a_mutation_full_of_decoys_is_given_up_soon() -> None:
    decoy = KNOWN.id + b"\3key" + STRANGE.id + b"\3key"
    payload = vint(120) + STRANGE.id + b"\3key" + decoy * 3000
    batch = read_keys(section_of(payload), SCHEMA, segment="s")
    assert isinstance(batch.problems[0], UnknownTableError)
    assert batch.problems[0].data == payload


def test_a_mutation_of_more_unknown_tables_than_python_can_count_down() -> None:
    one = UpdateWriter(of(KNOWN)).write() + STRANGE.id + b"\3key" + b"\1"
    payload = vint(6000) + STRANGE.id + b"\3key\1" + one * 3000
    batch = read_keys(section_of(payload), SCHEMA, segment="s")
    assert isinstance(batch.problems[0], UnknownTableError)


@pytest.mark.parametrize("count", [0, 1, 3, 200])
def test_a_count_that_lies(count: int) -> None:
    payload = mutation(of(KNOWN), of(OTHER))
    batch = read_keys(section_of(vint(count) + payload[1:]), SCHEMA, segment="s")
    assert len(batch.problems) == 1
    assert not batch.updates
