"""Builds the pipeline from its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cdc_daemon.config import Settings
from cdc_daemon.document.documents import DroppedDocuments
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.clock import HybridClock
from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.dead_documents import DeadDocuments
from cdc_daemon.pipeline.document_writer import DocumentWriter
from cdc_daemon.pipeline.expansion import Expansion
from cdc_daemon.pipeline.giving_up import GiveUpPolicy
from cdc_daemon.pipeline.lifetimes import Lifetimes
from cdc_daemon.pipeline.partition_documents import PartitionDocuments
from cdc_daemon.pipeline.pipeline import Pipeline
from cdc_daemon.pipeline.ports import DocumentBuilder, Expiries, Observer, RowReader, Suspects
from cdc_daemon.pipeline.routing import Router
from cdc_daemon.pipeline.row_processor import RowProcessor
from cdc_daemon.pipeline.server_waits import Waits
from cdc_daemon.pipeline.troubled import Troubled
from cdc_daemon.pipeline.unreadable import UnreadablePartitions, UnreadableRows
from cdc_daemon.search.engine import SearchEngine
from cdc_daemon.search.swap_writer import SwapWriter


def make_pipeline(
    settings: Settings,
    mappings: Mapping[TableName, Sequence[DocumentMapping]],
    *,
    client: SearchEngine,
    coalescer: Coalescer,
    clock: HybridClock,
    reader: RowReader,
    builder: DocumentBuilder,
    writer: SwapWriter,
    dead: DeadDocuments,
    expiries: Expiries,
    router: Router,
    waits: Waits,
    suspects: Suspects,
    troubled: Troubled,
    observer: Observer,
) -> Pipeline:
    """Return the pipeline: it takes signals of changes and settles the documents that show them."""
    policy = GiveUpPolicy()
    lifetimes = Lifetimes(expiries)
    documents = DocumentWriter(
        coalescer=coalescer,
        clock=clock,
        builder=builder,
        writer=writer,
        set_aside=dead.set_aside,
        observer=observer,
        policy=policy,
        router=router,
        lifetimes=lifetimes,
        dead=dead,
        waits=waits,
        suspects=suspects,
        troubled=troubled,
        allowed_clock_difference=int(settings.elasticsearch.allowed_clock_difference * 1e6),
    )
    return Pipeline(
        coalescer=coalescer,
        rows=RowProcessor(
            coalescer=coalescer,
            clock=clock,
            reader=reader,
            documents=documents,
            unreadable=UnreadableRows(policy, coalescer, dead),
            lifetimes=lifetimes,
            observer=observer,
            router=router,
            dropped=DroppedDocuments(mappings),
            waits=waits,
            troubled=troubled,
            second_read_pause=settings.cassandra.second_read_pause,
        ),
        expansion=Expansion(
            coalescer=coalescer,
            reader=reader,
            siblings=PartitionDocuments(
                client, {table: [mapping.alias for mapping in several] for table, several in mappings.items()}
            ),
            router=router,
            second_read_pause=settings.cassandra.second_read_pause,
            waits=waits,
        ),
        unreadable=UnreadablePartitions(
            coalescer=coalescer, policy=policy, set_aside=dead.set_aside, observer=observer, router=router, dead=dead
        ),
        writer=writer,
        waits=waits,
        troubled=troubled,
        doubt=writer.doubt,
        workers=settings.pipeline.workers,
        batch=settings.pipeline.batch_documents,
    )
