"""No value that Cassandra can store raises anything: it becomes a document, or a dead letter that can be looked at."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cdc_daemon.cli.dead_letter_tools import show_letter, show_letters
from cdc_daemon.cli.expected_documents import Preview
from cdc_daemon.cli.preview import plain_preview, show_preview
from cdc_daemon.cli.segment_tools.dump import value_line
from cdc_daemon.commitlog.schema import Column, TableMetadata
from cdc_daemon.commitlog.update import Cell, DecodedRow, PartitionUpdate
from cdc_daemon.commitlog.values import decode_value
from cdc_daemon.config import MappingSettings
from cdc_daemon.document.bookkeeping import CLUSTERING_FIELD, KEY_FIELD, PARTITION_FIELD
from cdc_daemon.document.documents import MappedDocuments
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.cql_types import CqlType
from cdc_daemon.model.document_operation import FailedBuild, Outcome, Result
from cdc_daemon.model.errors import CdcError, DocumentError, UndecodableError
from cdc_daemon.model.reading import Reading, RowState
from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.pipeline.dead_documents import DeadDocuments
from cdc_daemon.pipeline.entry import Entry
from cdc_daemon.pipeline.row_batch import BuiltDocuments, ReadRows
from cdc_daemon.search.bulk_body import encode_action
from cdc_daemon.search.engine import StoredDocument
from cdc_daemon.sources.dead_letters.reporting import dead_letter_as_json
from cdc_daemon.sources.poll.documents import document_name
from cdc_daemon.sources.poll.rows import PolledRow
from cdc_daemon.sources.unlogged_removals.sweep import MappedAlias, keys_of_page
from cdc_daemon.store import Store
from cdc_daemon.store.dead_letter_filter import EVERYTHING
from cdc_daemon.store.dead_letters import DeadLetter
from cdc_daemon.tablejobs.document_ids import DocumentKeys
from cdc_http.responses import JsonResponse
from tests.unit.document.any_value import KEY_SCALARS, LONG_NUMBER, framed, types, values, varint

pytestmark = pytest.mark.slow

TABLE = TableName("k", "t")

COLUMNS = ("p", "q", "v")


class Stored:
    """A row as Cassandra has it: its table, and the bytes of its key and of its one value."""

    def __init__(self, kinds: Sequence[CqlType], parts: Sequence[bytes], *, clustered: bool) -> None:
        *key, value = kinds
        roles = ["partition_key", "clustering" if clustered else "partition_key"]
        columns = [
            Column(name, name.encode(), kind, role, position=0)  # type: ignore[arg-type]
            for name, kind, role in zip(COLUMNS, key, roles, strict=False)
        ]
        self.table = TableMetadata(
            id=bytes(16),
            keyspace=TABLE.keyspace,
            name=TABLE.table,
            partition_key=tuple(each for each in columns if each.kind == "partition_key"),
            clustering=tuple(each for each in columns if each.kind == "clustering"),
            static=(),
            regular=(Column("v", b"v", value, "regular"),),
        )
        width = len(self.table.partition_key)
        self.value = parts[-1]
        self.key = Key(TABLE, self.table.join_key(parts[:width]), tuple(parts[width:-1]))

    def __repr__(self) -> str:
        kinds = [str(each.type) for each in (*self.table.partition_key, *self.table.clustering, *self.table.regular)]
        return f"<{kinds} {self.key.partition_key.hex()[:80]} {self.key.clustering!r:.80} {self.value.hex()[:80]}>"

    def state(self) -> RowState:
        """Return what the reader makes of it: the driver refuses the whole row where it cannot decode a value."""
        try:
            table, (_, partition_key, clustering) = self.table, self.key
            key = (*table.key_values(partition_key), *table.clustering_values(clustering or ()))
            value = decode_value(table.regular[0].type, self.value)
        except CdcError as error:
            return RowState(None, None, UndecodableError(f"its values cannot be decoded: {error.message}"))
        return RowState((*key, value), 1)


@st.composite
def stored(draw: st.DrawFn) -> Stored:
    kinds = [draw(types(KEY_SCALARS)), draw(types(KEY_SCALARS)), draw(types())]
    first = draw(values(kinds[0]).filter(bool))
    return Stored(kinds, [first, *(draw(values(kind)) for kind in kinds[1:])], clustered=draw(st.booleans()))


def of_one(kind: CqlType, value: bytes, *, clustered: bool = True) -> Stored:
    """Return a row that has one value everywhere."""
    return Stored([kind] * 3, [value or b"x"] * 3, clustered=clustered)


TEXT, VARINT, DECIMAL = CqlType("text"), CqlType("varint"), CqlType("decimal")
LONG = varint(LONG_NUMBER)
EXAMPLES = [
    of_one(VARINT, LONG),
    of_one(VARINT, LONG, clustered=False),
    of_one(VARINT, b"\x7f" * 70_000),
    of_one(CqlType("list", (VARINT,)), (1).to_bytes(4, "big") + framed([LONG])),
    of_one(CqlType("list", (VARINT,)), (1).to_bytes(4, "big") + framed([LONG]), clustered=False),
    of_one(CqlType("map", (VARINT, VARINT)), (1).to_bytes(4, "big") + framed([LONG, LONG])),
    of_one(CqlType("tuple", (VARINT, TEXT)), framed([LONG, None])),
    of_one(DECIMAL, bytes(4) + LONG),
    of_one(DECIMAL, struct.pack(">i", -(2**31)) + b"\1"),
    of_one(CqlType("date"), b"\xff" * 4, clustered=False),
    of_one(CqlType("timestamp"), b"\x7f" * 8),
    Stored([TEXT, CqlType("timestamp"), CqlType("timestamp")], [b"a", b"", b""], clustered=True),
    Stored([TEXT, CqlType("uuid"), VARINT], [b"a", b"", b""], clustered=False),
    of_one(TEXT, b"\xed\xa0\x80"),
    of_one(TEXT, b"\0"),
    Stored([TEXT, TEXT, TEXT], [b"a", b"b", b"x" * 2**20], clustered=True),
]


def mapping_of(table: TableMetadata, **more: Any) -> tuple[DocumentMapping, MappingSettings]:
    declared = MappingSettings.model_validate({"table": TABLE, "alias": "a", "routing": "{p}", **more})
    return DocumentMapping("m", declared, table), declared


EXACT = frozenset(("ascii", "bigint", "blob", "date", "int", "smallint", "text", "time", "tinyint", "uuid", "varint"))
"""Types whose values have one form in bytes."""

COMPUTED = {
    "as_text": "text(v)",
    "as_json": "json_text([v])",
    "as_number": "number(v)",
    "hashed": "sha256(v)",
    "joined": "join([v, p, q], '-')",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    made = Store(tmp_path_factory.mktemp("letters"))
    yield made
    made.close()


def all_examples(test: Any) -> Any:
    for each in EXAMPLES:
        test = example(each)(test)
    return settings(suppress_health_check=list(HealthCheck), max_examples=100)(test)


@all_examples
@given(stored())
def test_any_row_becomes_a_document_or_a_letter(store: Store, row: Stored) -> None:
    kinds: list[dict[str, Any]] = [{}, {"computed": COMPUTED}, {"where": "v != 7 and p != q"}]
    mappings = [mapping_of(row.table, **{"alias": f"a{at}", **more})[0] for at, more in enumerate(kinds)]
    build = MappedDocuments({TABLE: mappings}).of(TABLE, COLUMNS)
    for state in (row.state(), RowState(None, None)):
        built = BuiltDocuments(ReadRows([Entry(row.key)], Reading(1, 0.0, COLUMNS, [state])), build)
        for operation in built.operations:
            assert isinstance(encode_action(operation), bytes)
            assert operation.body is None or isinstance(orjson.loads(operation.body), dict)
        expected = len(mappings) if state.error is None else 1
        assert len(built.operations) + len(built.letters) == expected
        built.match([Result(Outcome.DEAD, "mapper_parsing_exception", "x \ud800", status=400)] * len(built.operations))
        assert len(built.letters) == expected
        keep_and_look(store, row.table, [letter for _, letter in built.letters])


def keep_and_look(store: Store, table: TableMetadata, letters: Sequence[DeadLetter]) -> None:
    """Keep letters, read them again, and show them in each way."""
    store.dead_letters.remove_matching(EVERYTHING)
    dead = DeadDocuments(store.dead_letters, {TABLE: table})
    dead.set_aside(letters)
    kept = list(store.dead_letters.list())
    assert len(kept) == len({letter.alias for letter in letters})
    content = {"dead_letters": [dead_letter_as_json(each) for each in kept], "total": len(kept)}
    assert json.loads(bytes(JsonResponse(content).body))["total"] == len(kept)
    assert json.dumps(content)
    show_letters(kept, store.dead_letters.reasons(), len(kept), more=False)
    for each in kept:
        show_letter(each)


@all_examples
@given(stored())
def test_any_document_leads_back_to_its_key(row: Stored) -> None:
    mapping, declared = mapping_of(row.table)
    state = row.state()
    if state.row is None:
        return
    (made,) = MappedDocuments({TABLE: [mapping]}).of(TABLE, COLUMNS)(row.key, state.row, 0, 0.0)
    if isinstance(made, FailedBuild):
        return
    kept = {PARTITION_FIELD, CLUSTERING_FIELD, KEY_FIELD}
    source = {name: value for name, value in orjson.loads(made.body or b"{}").items() if name in kept}
    keys = DocumentKeys(mapping, declared)
    found = keys.of(StoredDocument(made.id, made.routing, 1, source))
    assert found is not None, "reconcile would take it for a document of no row, and remove it"
    assert row.table.key_values(found.partition_key) is not None
    if canonical(row):
        assert found == row.key
        feed = MappedAlias("a", keys.of_id)
        assert list(keys_of_page([StoredDocument(made.id, made.routing, 1, source)], TABLE, feed)) == [row.key]
    again = MappedDocuments({TABLE: [mapping]}).of(TABLE, COLUMNS)(found, None, 0, 0.0)
    assert [each.id for each in again] == [made.id]


def canonical(row: Stored) -> bool:
    """Whether each component of the key has the bytes that its value is serialised to."""
    columns = (*row.table.partition_key, *row.table.clustering)
    parts = (*row.table.split_key(row.key.partition_key), *(row.key.clustering or ()))
    return all(not part or column.type.name in EXACT for column, part in zip(columns, parts, strict=True))


@all_examples
@given(stored())
def test_any_key_is_named_for_the_poller_or_left_to_the_pipeline(row: Stored) -> None:
    mapping, _ = mapping_of(row.table)
    document_name(mapping, PolledRow(row.key, None, None))


@all_examples
@given(stored())
def test_any_document_is_previewed(capsys: pytest.CaptureFixture[str], row: Stored) -> None:
    mapping, _ = mapping_of(row.table)
    state = row.state()
    unreadable = state.error if isinstance(state.error, DocumentError) else None
    for made in MappedDocuments({TABLE: [mapping]}).of(TABLE, COLUMNS)(row.key, state.row, 0, 0.0):
        if isinstance(made, FailedBuild):
            found = Preview(made.id, made.alias, None, None, made.error, made.source)
        else:
            indexed = None if made.body is None else {**orjson.loads(made.body), "v": 10**10}
            found = Preview(made.id, made.alias, made.body, indexed, unreadable)
        assert json.dumps(plain_preview(found), ensure_ascii=False)
        show_preview(found)
    capsys.readouterr()


@all_examples
@given(stored())
def test_any_update_is_a_line_of_a_dump(row: Stored) -> None:
    cell = Cell(row.value, 1, None, None, None)
    content = DecodedRow(row.key.clustering or (), 1, None, None, None, {"v": cell})
    update = PartitionUpdate(row.table, row.key.partition_key, 7, None, None, (content,), ())
    line = value_line(update, 1)
    assert json.loads(line)["position"] == 7
    assert line.count(b"\n") == 1
