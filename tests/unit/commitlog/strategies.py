"""Hypothesis strategies: tables of any columns, and updates of them as Cassandra could write them."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from cdc_daemon.commitlog.schema import Column, TableMetadata
from cdc_daemon.commitlog.update import Cell, ComplexColumn, DecodedRow, Deletion, PartitionUpdate, RangeTombstone
from cdc_daemon.model.cql_types import CqlType, parse_type
from tests.unit.commitlog.writer import table

SLOW = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None)

ADDRESS = CqlType(
    "udt",
    (CqlType("text"), CqlType("int")),
    frozen=False,
    type_name="address",
    field_names=("street", "zip"),
)
SIMPLE = ["int", "bigint", "text", "blob", "boolean", "uuid", "smallint", "inet", "duration", "decimal",
          "frozen<list<int>>", "vector<float, 3>", "vector<text, 2>", "timestamp", "frozen<address>"]  # fmt: skip
COMPLEX = ["list<int>", "set<text>", "map<text, bigint>", "address"]

TIMESTAMPS = st.integers(1_700_000_000_000_000, 1_800_000_000_000_000)
SECONDS = st.integers(1_500_000_000, (1 << 31) - 2)
TTLS = st.integers(1, 20 * 365 * 86400)


def column(name: str, text: str, kind: str = "regular", **more: bool) -> Column:
    return Column(name, name.encode(), parse_type(text, user_types={"address": ADDRESS}), kind, **more)  # type: ignore[arg-type]


@st.composite
def tables(draw: st.DrawFn, name: str = "t") -> TableMetadata:
    clustering = [
        column(f"c{index}", text, "clustering")
        for index, text in enumerate(draw(st.lists(st.sampled_from(SIMPLE), max_size=4)))
    ]
    if draw(st.integers(0, 20)) == 0:
        clustering = [column(f"c{index}", "int" if index % 2 else "text", "clustering") for index in range(40)]
    wide = draw(st.integers(0, 9)) == 0
    regular = [
        column(f"v{index:03}", text)
        for index, text in enumerate(
            draw(
                st.lists(
                    st.sampled_from(SIMPLE + COMPLEX),
                    min_size=64 if wide else 0,
                    max_size=80 if wide else 6,
                )
            )
        )
    ]
    static = [
        column(f"s{index}", text, "static")
        for index, text in enumerate(draw(st.lists(st.sampled_from(SIMPLE + COMPLEX), max_size=3)))
        if clustering
    ]
    return table(name, [column("k", "blob", "partition_key")], clustering, regular, static)


def values(cql_type: CqlType) -> st.SearchStrategy[bytes]:
    length = cql_type.fixed_length
    if length is None:
        return st.binary(max_size=150)
    return st.one_of(st.binary(min_size=length, max_size=length), st.just(b""))


def deletions() -> st.SearchStrategy[Deletion]:
    return st.builds(Deletion, TIMESTAMPS, SECONDS)


@st.composite
def cells(draw: st.DrawFn, of: Column, row_timestamp: int | None) -> Cell:
    shared = row_timestamp is not None and draw(st.booleans())
    timestamp = row_timestamp if shared and row_timestamp is not None else draw(TIMESTAMPS)
    path = draw(st.binary(max_size=20)) if of.type.multi_cell else None
    kind = draw(st.sampled_from(["live", "live", "expiring", "deleted"]))
    value = draw(st.binary(max_size=150) if of.type.multi_cell else values(of.type))
    if kind == "deleted":
        return Cell(None, timestamp, None, draw(SECONDS), path)
    if kind == "expiring":
        ttl = draw(TTLS)
        return Cell(value, timestamp, ttl, draw(st.integers(ttl, (1 << 31) - 2)), path)
    return Cell(value, timestamp, None, None, path)


@st.composite
def contents(draw: st.DrawFn, of: Column, row_timestamp: int | None) -> Cell | ComplexColumn:
    if not of.type.multi_cell:
        return draw(cells(of, row_timestamp))
    deletion = draw(st.none() | deletions())
    found = draw(st.lists(cells(of, row_timestamp), min_size=0 if deletion else 1, max_size=4))
    return ComplexColumn(deletion, tuple(found))


@st.composite
def rows(draw: st.DrawFn, of: TableMetadata, *, static: bool = False) -> DecodedRow:
    columns = of.static if static else of.regular
    timestamp = draw(st.none() | TIMESTAMPS)
    ttl = expires_at = None
    if timestamp is not None and draw(st.booleans()):
        ttl = draw(TTLS)
        expires_at = draw(st.integers(ttl, (1 << 31) - 2))
    chosen = draw(st.lists(st.sampled_from(columns), unique=True)) if columns else []
    found = {each.name: draw(contents(each, timestamp)) for each in columns if each in chosen}
    deletion = draw(st.none() | deletions())
    if not found and timestamp is None and deletion is None:
        deletion = draw(deletions())
    clustering = () if static else tuple(draw(st.none() | values(each.type)) for each in of.clustering)
    return DecodedRow(clustering, timestamp, ttl, expires_at, deletion, found)


@st.composite
def ranges(draw: st.DrawFn, of: TableMetadata) -> RangeTombstone:
    bounds = [
        tuple(draw(values(each.type)) for each in of.clustering[: draw(st.integers(0, len(of.clustering)))])
        for _ in range(2)
    ]
    return RangeTombstone(bounds[0], draw(st.booleans()), bounds[1], draw(st.booleans()), draw(deletions()))


@st.composite
def updates(draw: st.DrawFn, of: TableMetadata, key: bytes | None = None) -> PartitionUpdate:
    return PartitionUpdate(
        of,
        draw(st.binary(min_size=1, max_size=200)) if key is None else key,
        0,
        draw(st.none() | deletions()),
        draw(st.none() | rows(of, static=True)) if of.static else None,
        tuple(draw(st.lists(rows(of), max_size=3))),
        tuple(draw(st.lists(ranges(of), max_size=2))) if of.clustering else (),
    )
