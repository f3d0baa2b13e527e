"""Processor time of the pure code paths, without servers: what a change costs at each step of its way.

The steps run in this process on one thread, with the garbage collector as the daemon sets it. Each run takes the steps
in turn, so that a machine that gets slower changes all of them.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import struct
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
from cassandra import cqltypes

from bench import workload
from bench.figures import Figures
from bench.report import Report, machine, versions
from cdc_daemon.app import garbage
from cdc_daemon.cassandra.session import ForgivingProtocolHandler
from cdc_daemon.commitlog.descriptor import read_descriptor
from cdc_daemon.commitlog.keys import read_keys
from cdc_daemon.commitlog.schema import Schema, TableMetadata
from cdc_daemon.commitlog.section import Section, SectionReader
from cdc_daemon.config.mapping import MappingSettings
from cdc_daemon.document.documents import MappedDocuments
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.document_operation import Operation, Outcome, Result
from cdc_daemon.model.reading import Reading, RowState
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Key, Scope, Signal, TableName
from cdc_daemon.model.version_clock import HybridClock
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.document_writer import DocumentWriter
from cdc_daemon.pipeline.giving_up import GiveUpPolicy
from cdc_daemon.pipeline.lifetimes import Lifetimes
from cdc_daemon.pipeline.metrics import PipelineMetrics
from cdc_daemon.pipeline.routing import Router
from cdc_daemon.pipeline.row_batch import ReadRows, RowBatch
from cdc_daemon.search.bulk_body import split
from cdc_daemon.search.bulk_results import BulkResults, Clocks
from cdc_daemon.sources.log.signals import signals_of
from cdc_daemon.store.dead_letters import DeadLetter
from cdc_daemon.telemetry.metrics import Metrics

_SEGMENTS = Path(__file__).parent.parent / "tests" / "data" / "commitlog" / "5.0-plain"
_NAME = TableName(workload.KEYSPACE, "person")
_BATCH = 500
_VERSION = 1_795_461_420_000_000
_PROTOCOL = 5

_TYPES: dict[str, Any] = {
    "text": cqltypes.UTF8Type,
    "int": cqltypes.Int32Type,
    "boolean": cqltypes.BooleanType,
    "timestamp": cqltypes.DateType,
    "bigint": cqltypes.LongType,
    "set<text>": cqltypes.SetType.apply_parameters([cqltypes.UTF8Type]),
    "map<text, text>": cqltypes.MapType.apply_parameters([cqltypes.UTF8Type, cqltypes.UTF8Type]),
}

Step = Callable[[], int]
"""Does one round of a step; returns the number of changes."""


def measure(*, runs: int, rounds: int) -> Report:
    """Measure each step in `runs` runs of `rounds` rounds of 500 changes, after one to warm up."""
    garbage.tune()
    found: dict[str, list[float]] = defaultdict(list)
    steps = _Steps()
    for turn in range(runs + 1):
        total = 0.0
        for name, step in steps.all().items():
            began = time.process_time()
            changes = sum(step() for _ in range(rounds))
            spent = (time.process_time() - began) * 1e6 / changes
            total += spent
            if turn:
                found[f"{name}, CPU us a change"].append(spent)
        if turn:
            found["all steps, CPU us a change"].append(total)
    steps.check()
    steps.close()
    about = [
        machine(),
        versions(),
        f"{runs} runs of {rounds} rounds of {_BATCH} changes, after one to warm up; one thread",
    ]
    return Report("cost of the pure code paths", about, {name: Figures(values) for name, values in found.items()})


class _Steps:
    """The steps, each with its input at hand."""

    def __init__(self) -> None:
        self._sections, self._schema = _load_segments()
        self._table = _table()
        self._mapping = DocumentMapping("person", MappingSettings(table=_NAME, alias=workload.ALIAS), self._table)
        self._columns = tuple(workload.COLUMNS)
        self._keys = [Key(_NAME, workload.identity(number).encode(), ()) for number in range(_BATCH)]
        self._frame, self._metadata = _frame(_BATCH)
        self._rows = [tuple(row[: len(self._columns)]) for row in self._read()]
        self._build = MappedDocuments({_NAME: [self._mapping]}).of(_NAME, self._columns)
        self._operations = self._made()
        self._metrics = PipelineMetrics(Metrics(), None, {_NAME: [workload.ALIAS]})
        self._loop = asyncio.new_event_loop()
        self._released = 0

    def all(self) -> dict[str, Step]:
        """Return the steps in the order of a change."""
        return {
            "decode keys and make signals": self._decode,
            "coalesce and hand out": self._coalesce,
            "decode rows (the driver)": lambda: len(self._read()),
            "build documents": lambda: len(self._made()),
            "encode bulk bodies": self._encode,
            "judge, count and acknowledge": self._settle,
        }

    def check(self) -> None:
        """Check that the documents hold what the rows hold, and that all work was acknowledged."""
        for number, made in enumerate(self._operations):
            expected = dict(zip(workload.COLUMNS, workload.row(number, 1), strict=True))
            document = orjson.loads(made.body or b"")
            assert made.id == expected["id"], made.id
            assert set(document["roles"]) == expected["roles"], document
            assert all(document[name] == expected[name] for name in ("email", "run", "isdeleted", "framework")), (
                document
            )
        assert self._released, "nothing was acknowledged"

    def close(self) -> None:
        """Close the event loop."""
        self._loop.close()

    def _decode(self) -> int:
        count = 0
        while count < _BATCH:
            for section, segment in self._sections:
                portion = read_keys(section, self._schema, segment=segment)
                count += sum(1 for _ in signals_of(portion.updates))
        return count

    def _coalesce(self) -> int:
        coalescer = Coalescer()
        receipt = Receipt(self._note_released)
        signals = [Signal(_NAME, key.partition_key, Scope.ROW, written=_VERSION) for key in self._keys]

        async def hand_out() -> None:
            await coalescer.submit(signals, receipt)
            receipt.release()
            for entry in await coalescer.take_rows(_BATCH):
                coalescer.settle(entry)

        self._loop.run_until_complete(hand_out())
        return _BATCH

    def _read(self) -> list[Any]:
        message = ForgivingProtocolHandler.decode_message(_PROTOCOL, {}, 0, 0, 8, self._frame, None, self._metadata)
        rows: list[Any] = message.parsed_rows
        return rows

    def _made(self) -> list[Operation]:
        made: list[Any] = []
        for key, row in zip(self._keys, self._rows, strict=True):
            made.extend(self._build(key, row, _VERSION, 1.0))
        return made

    def _encode(self) -> int:
        known = BulkResults(self._operations)
        for batch in split(self._operations, known.results, documents=_BATCH, size=1 << 30):
            body, guards = batch.encode(self._operations)
            assert body
            known.record(batch, guards, None, Clocks(_VERSION, 0))
        return len(known.results)

    def _settle(self) -> int:
        coalescer = Coalescer()
        writer = DocumentWriter(
            coalescer=coalescer,
            clock=HybridClock(),
            builder=self,
            writer=self,
            set_aside=_keep_nothing,
            observer=self._metrics,
            policy=GiveUpPolicy(),
            router=Router(coalescer, {}, mapped=[_NAME]),
            lifetimes=Lifetimes(None),
        )
        reading = Reading(_VERSION, 1.0, self._columns, [RowState(row, _VERSION) for row in self._rows])
        receipt = Receipt(self._note_released)
        signals = [Signal(_NAME, key.partition_key, Scope.ROW, written=_VERSION) for key in self._keys]

        async def settle() -> float:
            await coalescer.submit(signals, receipt)
            receipt.release()
            entries = await coalescer.take_rows(_BATCH)
            batch = RowBatch(_NAME)
            for entry in entries:
                batch.add(entry)
            await writer.write(batch, ReadRows(entries, reading))
            return 0.0

        self._loop.run_until_complete(settle())
        return _BATCH

    def of(self, _table: TableName, _columns: tuple[str, ...]) -> Any:
        """Return a builder that has all documents at hand."""
        made = dict(zip(self._keys, self._operations, strict=True))
        return lambda key, _row, _version, _read_at: (made[key],)

    async def write(self, operations: Sequence[Operation]) -> list[Result]:
        """Accept all operations."""
        return [_INDEXED] * len(operations)

    async def wait_available(self) -> None:
        """Return at once."""

    def _note_released(self) -> None:
        self._released += 1


_INDEXED = Result(Outcome.INDEXED)


def _keep_nothing(_letters: Sequence[DeadLetter]) -> None:
    """Accept dead letters; there are none."""


def _load_segments() -> tuple[list[tuple[Section, str]], Schema]:
    """Load the sections of real segments, and their schema."""
    schema = Schema.from_rows(**json.loads(gzip.decompress((_SEGMENTS / "schema.json.gz").read_bytes())))
    found = []
    for path in sorted(_SEGMENTS.glob("*.log.gz")):
        data, name = gzip.decompress(path.read_bytes()), path.name.removesuffix(".gz")
        descriptor = read_descriptor(data, segment=name)
        assert descriptor is not None
        reader = SectionReader(data, descriptor, segment=name)
        while (section := reader.next()) is not None:
            found.append((section, name))
    return found, schema


def _table() -> TableMetadata:
    columns = [
        {
            "keyspace_name": workload.KEYSPACE,
            "table_name": "person",
            "column_name": name,
            "kind": "partition_key" if name == "id" else "regular",
            "position": 0 if name == "id" else -1,
            "type": kind.removesuffix(" PRIMARY KEY"),
            "clustering_order": "none",
        }
        for name, kind in workload.COLUMNS.items()
    ]
    table = {"keyspace_name": workload.KEYSPACE, "table_name": "person", "id": "7ea2c300-e772-11f1-bc9f-47671d181370"}
    found = Schema.from_rows(tables=[table], columns=columns, types=[]).find(workload.KEYSPACE, "person")
    assert found is not None
    return found


def _frame(rows: int) -> tuple[bytes, list[tuple[str, str, str, Any]]]:
    """Return the body of Cassandra's answer to the daemon's query for rows, and the statement's metadata."""
    kinds = [(name, _TYPES[kind.removesuffix(" PRIMARY KEY")]) for name, kind in workload.COLUMNS.items()]
    kinds += [(f"writetime({name})", _TYPES["bigint"]) for name, _ in kinds[1:]]
    metadata = [(workload.KEYSPACE, "person", name, kind) for name, kind in kinds]
    parts = [struct.pack(">iiii", 2, 4, len(kinds), rows)]
    for number in range(rows):
        values = (*workload.row(number, 1), *([_VERSION] * (len(workload.COLUMNS) - 1)))
        for (_, kind), value in zip(kinds, values, strict=True):
            encoded = kind.serialize(value, _PROTOCOL)
            parts.append(struct.pack(">i", len(encoded)) + encoded)
    return b"".join(parts), metadata
