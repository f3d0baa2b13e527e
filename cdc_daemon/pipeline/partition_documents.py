"""The documents of a Cassandra partition, found by the bookkeeping fields in each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing

from cdc_daemon.document.bookkeeping import read_clustering
from cdc_daemon.document.mapping import CLUSTERING_FIELD, PARTITION_FIELD, partition_term
from cdc_daemon.model.errors import ElasticsearchRefusedError, ElasticsearchUnavailableError
from cdc_daemon.model.signal import Clustering, TableName
from cdc_daemon.search.documents import find_documents_with
from cdc_daemon.search.engine import SearchEngine


class PartitionDocuments:
    """Finds which rows of a partition have documents, in each index that its table feeds."""

    def __init__(self, engine: SearchEngine, aliases: Mapping[TableName, Sequence[str]]) -> None:
        self._engine = engine
        self._aliases = aliases

    async def find(self, table: TableName, partition_key: bytes) -> AsyncIterator[Sequence[Clustering]]:
        """Return the clustering keys of the partition's documents page by page, after a refresh of the index.

        Raises `ElasticsearchUnavailableError` and `ElasticsearchRefusedError`, after the other indices were searched.
        """
        term = partition_term(partition_key)
        failure: ElasticsearchUnavailableError | ElasticsearchRefusedError | None = None
        for alias in self._aliases.get(table, ()):
            pages = find_documents_with(self._engine, alias, PARTITION_FIELD, term, source=[CLUSTERING_FIELD])
            try:
                async with aclosing(pages) as found:
                    async for page in found:
                        read = [read_clustering(each.source or {}) for each in page]
                        yield [clustering for clustering in read if clustering is not None]
            except (ElasticsearchUnavailableError, ElasticsearchRefusedError) as error:
                failure = failure or error
        if failure is not None:
            raise failure
