"""The parts of a pipeline before servers in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cdc_daemon.model.signal import TableName
from cdc_daemon.model.version_clock import HybridClock
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.document_writer import DocumentWriter
from cdc_daemon.pipeline.giving_up import GiveUpPolicy
from cdc_daemon.pipeline.lifetimes import Lifetimes
from cdc_daemon.pipeline.partition_expansion import Expansion
from cdc_daemon.pipeline.pipeline import Pipeline
from cdc_daemon.pipeline.ports import DocumentBuilder, RowReader, Writer
from cdc_daemon.pipeline.routing import Router
from cdc_daemon.pipeline.row_processor import RowProcessor
from cdc_daemon.pipeline.unreadable import UnreadablePartitions, UnreadableRows
from cdc_daemon.store.dead_letters import DeadLetter


class Counts:
    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}

    def settled(self, table: TableName, outcome: str, alias: str) -> None:
        assert alias == str(table)
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    def shown(self, table: TableName, oldest: int) -> None:
        pass

    def set_aside(self, reasons: Sequence[str]) -> None:
        assert all(reasons)

    def second_reads(self, count: int) -> None:
        assert count > 0

    def retried(self, reason: str, count: int) -> None:
        assert reason
        assert count > 0


def no_dead_letters(letters: Sequence[DeadLetter]) -> None:
    raise AssertionError(letters)


def unreadable_of(coalescer: Coalescer, **others: Any) -> UnreadablePartitions:
    """Return what deals with partitions that cannot be read, where there should be none."""
    parts: dict[str, Any] = {
        "policy": GiveUpPolicy(),
        "set_aside": no_dead_letters,
        "observer": Counts(),
        "router": Router(coalescer, {}, mapped=()),
        "dead": None,
        **others,
    }
    return UnreadablePartitions(coalescer=coalescer, **parts)


def row_processor_of(
    coalescer: Coalescer,
    *,
    reader: RowReader,
    builder: DocumentBuilder,
    writer: Writer,
    clock: HybridClock | None = None,
    policy: GiveUpPolicy | None = None,
    dropped: DocumentBuilder | None = None,
    second_read_pause: float = 0.05,
    **others: Any,
) -> RowProcessor:
    """Return a row processor before these servers. `others` are further parts of its document writer."""
    policy = policy or GiveUpPolicy()
    router = others.pop("router", None) or Router(coalescer, {}, mapped=())
    lifetimes = Lifetimes(others.pop("expiries", None))
    shared: dict[str, Any] = {
        "coalescer": coalescer,
        "clock": clock or HybridClock(),
        "router": router,
        "lifetimes": lifetimes,
        "observer": others.pop("observer", None) or Counts(),
        "server_waits": others.pop("waits", None),
        "troubled": others.pop("troubled", None),
    }
    documents: dict[str, Any] = {"set_aside": no_dead_letters, **others}
    return RowProcessor(
        reader=reader,
        documents=DocumentWriter(builder=builder, writer=writer, policy=policy, **documents, **shared),
        unreadable=UnreadableRows(policy, coalescer, others.get("dead")),
        dropped=dropped,
        second_read_pause=second_read_pause,
        **shared,
    )


def pipeline_of(
    coalescer: Coalescer, rows: RowProcessor, expansion: Expansion, writer: Writer, *, batch: int
) -> Pipeline:
    return Pipeline(
        coalescer=coalescer,
        rows=rows,
        expansion=expansion,
        unreadable=unreadable_of(coalescer),
        writer=writer,
        workers=3,
        batch=batch,
    )
