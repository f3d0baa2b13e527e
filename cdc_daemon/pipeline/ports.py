"""What the pipeline needs of Cassandra, of mappings and of Elasticsearch: narrow enough for a simulator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from cdc_daemon.model.document_operation import Operation, Result, RowBuilder
from cdc_daemon.model.key import Key
from cdc_daemon.model.reading import Lifetime, Reading
from cdc_daemon.model.signal import Clustering, TableName
from cdc_daemon.pipeline.entry import Entry


class RowReader(Protocol):
    """Reads rows in multi-key batches."""

    async def read(self, table: TableName, keys: Sequence[Key], *, confirm: bool = False) -> Reading:
        """Read the rows; with `confirm` at a higher consistency level where there are more replicas.

        Raises `CassandraUnavailableError` when they cannot be read now, `TableDroppedError` when there is no such
        table any more.
        """
        ...

    def clusterings(self, table: TableName, partition_key: bytes) -> AsyncIterator[Sequence[Clustering]]:
        """Read the clustering keys of a partition page by page; same errors as `read`."""
        ...

    async def confirm_partition(self, table: TableName, partition_key: bytes) -> None:
        """Make sure that later reads see a partition as all of its replicas together know it; errors as `read`'s."""
        ...


class DocumentBuilder(Protocol):
    """Turns rows into documents by the declared mappings."""

    def of(self, table: TableName, columns: tuple[str, ...]) -> RowBuilder:
        """Return what builds documents from rows with these columns."""
        ...


class SiblingFinder(Protocol):
    """Finds the documents of a partition in the index."""

    def find(self, table: TableName, partition_key: bytes) -> AsyncIterator[Sequence[Clustering]]:
        """Return the clustering keys of the partition's documents page by page, as of a fresh refresh.

        Raises `ElasticsearchUnavailableError` or `ElasticsearchRefusedError` when they cannot be found now.
        """
        ...


class Writer(Protocol):
    """Writes documents by their versions."""

    async def write(self, operations: Sequence[Operation]) -> list[Result]:
        """Write them and return a result for each, in order."""
        ...

    async def wait_available(self) -> None:
        """Wait while Elasticsearch is known to be away."""
        ...


class DeadDocuments(Protocol):
    """Knows which documents are set aside."""

    def has(self, key: Key, alias: str) -> bool:
        """Tell whether a row's document under an alias is set aside. It is asked for each document, and at hand."""
        ...

    def revive(self, shown: Sequence[tuple[Key, str]]) -> None:
        """Forget that documents were set aside, as they are shown now. It blocks for a commit."""
        ...


class Expiries(Protocol):
    """Keeps in mind when values of rows expire, so that their documents follow."""

    def tracks(self, table: TableName) -> bool:
        """Tell whether rows of a table are read with the lives of their values."""
        ...

    def expect(self, table: TableName) -> None:
        """Take note that values of a table's rows expire. It blocks for a commit."""
        ...

    def keep(self, lifetimes: Sequence[Lifetime]) -> None:
        """Keep the lifetimes of rows in place of what was known of them. It blocks for a commit."""
        ...


class Suspects(Protocol):
    """Keeps in mind the documents that a lost request may still write."""

    def writing(self) -> AbstractContextManager[None]:
        """Notice when a write in this block is broken off."""
        ...

    async def note(self, judged: Sequence[tuple[Entry, Operation, Result]]) -> None:
        """Keep the suspects among these results durably. Raises `StoreError`."""
        ...


class Observer(Protocol):
    """Is told what the pipeline does."""

    def settled(self, table: TableName, outcome: str, alias: str) -> None:
        """Take note that a document was settled, with its outcome's name."""
        ...

    def set_aside(self, reasons: Sequence[str]) -> None:
        """Take note of documents that are kept as dead letters and were not before, by the reason of each."""
        ...

    def shown(self, table: TableName, oldest: int) -> None:
        """Take note that a key is shown whose oldest change was written at `oldest` (µs since epoch)."""
        ...

    def second_reads(self, count: int) -> None:
        """Take note of rows that were read once more before they were believed."""
        ...

    def retried(self, reason: str, count: int) -> None:
        """Take note of keys that go back to be read again."""
        ...
