"""Builds the pipeline from its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from elasticsearch import AsyncElasticsearch

from cdc_daemon.config import Settings
from cdc_daemon.document.documents import DroppedDocuments
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.clock import HybridClock
from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.coalescer import Coalescer
from cdc_daemon.pipeline.dead_documents import DeadDocuments
from cdc_daemon.pipeline.expansion import Expansion
from cdc_daemon.pipeline.giving_up import Poison
from cdc_daemon.pipeline.partition_documents import PartitionDocuments
from cdc_daemon.pipeline.pipeline import Pipeline
from cdc_daemon.pipeline.ports import DocumentBuilder, Expiries, Observer, RowReader, Suspects
from cdc_daemon.pipeline.routing import Router
from cdc_daemon.pipeline.server_waits import Waits
from cdc_daemon.pipeline.settlement import Settlement
from cdc_daemon.pipeline.troubled import Troubled
from cdc_daemon.pipeline.unreadable_partitions import UnreadablePartitions
from cdc_daemon.search.swap_writer import PairWriter


def make_pipeline(
    settings: Settings,
    mappings: Mapping[TableName, Sequence[DocumentMapping]],
    *,
    client: AsyncElasticsearch,
    coalescer: Coalescer,
    clock: HybridClock,
    reader: RowReader,
    builder: DocumentBuilder,
    writer: PairWriter,
    dead: DeadDocuments,
    expiries: Expiries,
    router: Router,
    waits: Waits,
    suspects: Suspects,
    troubled: Troubled,
    observer: Observer,
) -> Pipeline:
    """Return the pipeline: it takes signals of changes and settles the documents that show them."""
    poison = Poison()
    return Pipeline(
        coalescer=coalescer,
        settlement=Settlement(
            coalescer=coalescer,
            clock=clock,
            reader=reader,
            builder=builder,
            writer=writer,
            set_aside=dead.set_aside,
            observer=observer,
            dropped=DroppedDocuments(mappings),
            poison=poison,
            dead=dead,
            expiries=expiries,
            router=router,
            waits=waits,
            suspects=suspects,
            troubled=troubled,
            second_read_pause=settings.cassandra.second_read_pause,
            allowed_clock_difference=int(settings.elasticsearch.allowed_clock_difference * 1e6),
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
            coalescer=coalescer, poison=poison, set_aside=dead.set_aside, observer=observer, router=router, dead=dead
        ),
        writer=writer,
        waits=waits,
        troubled=troubled,
        doubt=writer.doubt,
        workers=settings.pipeline.workers,
        batch=settings.pipeline.batch_documents,
    )
