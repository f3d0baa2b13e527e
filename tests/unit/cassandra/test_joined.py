"""What is joined to rows tells when the first of it expires, where its table has values that do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from cdc_daemon.cassandra.dialect import CASSANDRA
from cdc_daemon.cassandra.joined import JoinedRowReader
from cdc_daemon.cassandra.read_plan import ReadPlan
from cdc_daemon.cassandra.reader import CassandraRowReader, Found
from cdc_daemon.cassandra.schema import SchemaSource
from cdc_daemon.commitlog.schema import TableMetadata
from cdc_daemon.document.related import Joined, Related, Relation
from cdc_daemon.model.errors import DocumentError
from cdc_daemon.model.reading import Reading, RowState
from cdc_daemon.model.signal import Key, TableName
from tests.unit.document.tables import table

USER, ROLE, ORG = (TableName("sunbird", name) for name in ("user", "role", "org"))

TABLES = {
    ROLE: table(
        ("userid", "text", "partition_key"),
        ("role", "text", "clustering"),
        ("org", "text", "regular"),
        ("note", "text", "regular"),
        name="role",
    ),
    ORG: table(("id", "text", "partition_key"), ("name", "text", "regular"), name="org"),
}
ORG_OF_ROLE = Relation("roles\0org", ORG, (("id", "org"),), ("name",))
RELATED = Related(
    lookups=(Relation("root", ORG, (("id", "org"),), ("name",)),),
    joins=(Relation("roles", ROLE, (("userid", "id"),), ("role", "org"), limit=10, lookups=(ORG_OF_ROLE,)),),
)


class Schema:
    dialect = CASSANDRA
    newest_of_collections = True

    def __init__(self, *expiring: TableName) -> None:
        self.expiring = set(expiring)

    def table(self, name: TableName) -> TableMetadata:
        return TABLES[name]

    def tracks(self, name: TableName) -> bool:
        return name in self.expiring


class Reader:
    """Has rows by table and key; with each the moment at which something of it expires."""

    def __init__(self, rows: Mapping[tuple[TableName, bytes], Sequence[tuple[Sequence[Any], int | None]]]) -> None:
        self.rows = rows
        self.plans: dict[TableName, ReadPlan] = {}

    async def read_below(self, plan: ReadPlan, keys: Sequence[Key], *, limit: int) -> Mapping[Key, Found]:
        assert limit
        name = TableName(plan.table.keyspace, plan.table.name)
        self.plans[name] = plan
        return {
            key: [(*row, moment) if plan.ttls else row for row, moment in self.rows.get((name, key.partition_key), ())]
            if key.partition_key != b"broken"
            else DocumentError("cannot be decoded")
            for key in keys
        }


ROWS: dict[tuple[TableName, bytes], list[tuple[Sequence[Any], int | None]]] = {
    (ROLE, b"u1"): [(("u1", "admin", "o1"), None), (("u1", "guest", "o2"), 500), (("u1", "other", None), 400)],
    (ROLE, b"u2"): [(("u2", "admin", "o1"), None)],
    (ORG, b"o1"): [(("o1", "One"), 300)],
    (ORG, b"o2"): [(("o2", "Two"), None)],
}


async def extended(schema: Schema, reader: Reader, *rows: tuple[str, str | None]) -> list[RowState]:
    joined = JoinedRowReader(cast("CassandraRowReader", reader), cast("SchemaSource", schema), {USER: RELATED})
    reading = Reading(1, 0.0, ("id", "org"), [RowState(row, 1) for row in rows])
    return list((await joined.extend(USER, reading)).states)


async def test_nothing_is_asked_of_tables_whose_values_do_not_expire() -> None:
    reader = Reader(ROWS)
    (state,) = await extended(Schema(), reader, ("u1", "o1"))
    assert state.joined_expires is None
    assert [plan.ttls for plan in reader.plans.values()] == [0, 0]


async def test_the_first_of_all_that_is_joined_is_told() -> None:
    states = await extended(Schema(ROLE), Reader(ROWS), ("u1", "o1"), ("u2", None), ("u3", None))
    assert [state.joined_expires for state in states] == [400, None, None]
    states = await extended(Schema(ROLE, ORG), Reader(ROWS), ("u1", None), ("u2", None), ("u3", "o1"), ("u3", "o2"))
    assert [state.joined_expires for state in states] == [300, 300, 300, None]
    states = await extended(Schema(ORG), Reader(ROWS), ("u2", "o2"), ("broken", "o1"))
    assert states[0].joined_expires == 300
    assert states[1].error is not None


async def test_what_is_joined_is_the_same_with_lives_as_without() -> None:
    with_lives = await extended(Schema(ROLE, ORG), Reader(ROWS), ("u1", "o1"))
    without = await extended(Schema(), Reader(ROWS), ("u1", "o1"))
    assert with_lives[0].row == without[0].row
    assert without[0].row is not None
    joined = without[0].row[-1]
    assert isinstance(joined, Joined)
    assert [row[:3] for row in joined.rows] == [row for row, _ in ROWS[ROLE, b"u1"]]


async def test_a_table_may_come_to_have_expiring_values() -> None:
    schema, reader = Schema(), Reader(ROWS)
    joined = JoinedRowReader(cast("CassandraRowReader", reader), cast("SchemaSource", schema), {USER: RELATED})
    reading = Reading(1, 0.0, ("id", "org"), [RowState(("u1", None), 1)])
    assert (await joined.extend(USER, reading)).states[0].joined_expires is None
    schema.expiring.add(ROLE)
    assert (await joined.extend(USER, reading)).states[0].joined_expires == 400
