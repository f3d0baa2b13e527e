"""The interfaces of the pipeline: to Cassandra, mappings and Elasticsearch, and to those who watch it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cdc_daemon.model.document_operation import DocumentOutcome, Operation, Result, RowBuilder
from cdc_daemon.model.errors import Trouble
from cdc_daemon.model.reading import Lifetime, Reading
from cdc_daemon.model.signal import Clustering, Key, TableName

if TYPE_CHECKING:
    from cdc_daemon.pipeline.entry import Entry


class RowReader(Protocol):
    """Reads rows in multi-key batches."""

    async def read(self, table: TableName, keys: Sequence[Key], *, confirm: bool = False) -> Reading:
        """Read the rows; with `confirm` at a higher consistency level if there are more replicas.

        Raises `CassandraUnavailableError` when they cannot be read now, `TableDroppedError` when the table no longer
        exists.
        """
        ...

    def clusterings(self, table: TableName, partition_key: bytes) -> AsyncIterator[Sequence[Clustering]]:
        """Read the clustering keys of a partition page by page; raises the errors of `read`."""
        ...

    async def confirm_partition(self, table: TableName, partition_key: bytes) -> None:
        """Ensure that later reads see the combined data of all replicas of a partition; raises the errors of `read`."""
        ...


class ExtendingReader(RowReader, Protocol):
    """A reader that also completes rows that were read elsewhere, such as by a scan."""

    async def extend(self, table: TableName, reading: Reading) -> Reading:
        """Return a reading of a table's rows with the joined rows. Raises the errors of `read`."""
        ...


class MappingUpdater(Protocol):
    """Keeps the mappings of tables, and the fields of their indices, in step with the schema."""

    async def update(self, table: TableName, keys: Sequence[Key], reading: Reading) -> None:
        """Update a table's mappings and indices after a read of rows, before documents are built from the reading.

        Raises `ElasticsearchUnavailableError` if fields cannot be added now, and `TableRekeyedError` if the table was
        created again with another primary key.
        """
        ...


class DocumentBuilder(Protocol):
    """Builds documents from rows by the declared mappings."""

    def of(self, table: TableName, columns: tuple[str, ...]) -> RowBuilder:
        """Return the builder of documents from rows with these columns."""
        ...


class DocumentFinder(Protocol):
    """Finds the documents of a partition in the index."""

    def find(self, table: TableName, partition_key: bytes) -> AsyncIterator[Sequence[Clustering]]:
        """Return the clustering keys of the partition's documents page by page, after a refresh of the index.

        Raises `ElasticsearchUnavailableError` or `ElasticsearchRefusedError` when they cannot be found now.
        """
        ...


class Writer(Protocol):
    """Writes documents with external versions."""

    async def write(self, operations: Sequence[Operation]) -> list[Result]:
        """Write the operations and return a result for each, in order."""
        ...

    async def wait_available(self) -> None:
        """Wait while Elasticsearch is known to be unavailable."""
        ...


class SetAsideDocuments(Protocol):
    """Tracks the documents that are set aside."""

    def has(self, key: Key, alias: str) -> bool:
        """Return whether a row's document under an alias is set aside. Called for each document; does no I/O."""
        ...

    def revive(self, shown: Sequence[tuple[Key, str]]) -> None:
        """Delete the letters of documents that are written now. Blocks for a commit."""
        ...


class Expiries(Protocol):
    """Tracks when values of rows expire, so that their documents are updated."""

    def tracks(self, table: TableName) -> bool:
        """Return whether rows of a table are read with the expiry times of their values."""
        ...

    def expect(self, table: TableName) -> None:
        """Record that values of a table's rows expire. Blocks for a commit."""
        ...

    def keep(self, lifetimes: Sequence[Lifetime]) -> None:
        """Replace the known lifetimes of rows. Blocks for a commit."""
        ...


class Suspects(Protocol):
    """Tracks the documents that a lost request may still write."""

    def writing(self) -> AbstractContextManager[None]:
        """Detect when a write in this block is cancelled."""
        ...

    async def note(self, judged: Sequence[tuple[Entry, Operation, Result]]) -> None:
        """Write the suspects among these results durably. Raises `StoreError`."""
        ...


class Observer(Protocol):
    """Receives the pipeline's events."""

    def settled(self, table: TableName, outcome: str, alias: str) -> None:
        """Count a document by its outcome."""
        ...

    def set_aside(self, reasons: Sequence[str]) -> None:
        """Count documents that are newly kept as dead letters, by reason."""
        ...

    def shown(self, table: TableName, oldest: int) -> None:
        """Measure the lag of a key that is now written; its oldest change was written at `oldest` (µs since epoch)."""
        ...

    def second_reads(self, count: int) -> None:
        """Count rows that were read a second time before the answer was trusted."""
        ...

    def retried(self, reason: str, count: int) -> None:
        """Count keys that are returned to be read again."""
        ...


class Watch(Protocol):
    """A caller that asked for keys and waits for each of them.

    Watched keys are urgent: they have their own workers and pass the pending limit. A `closed` watch
    no longer waits; keys that nobody else needs are then removed.
    """

    @property
    def closed(self) -> bool:
        """Return whether the caller no longer waits."""
        ...

    def settled(self, key: Key, documents: Sequence[DocumentOutcome]) -> None:
        """Record that a key is settled: read after the request, and its documents written or set aside.

        A partition is settled after each of its rows, which are reported as keys of their own; it has no documents.
        """
        ...

    def delayed(self, key: Key, trouble: Trouble) -> None:
        """Record that a key has to be retried."""
        ...

    def refused(self, key: Key, troubles: Mapping[str, Trouble], documents: Sequence[DocumentOutcome]) -> None:
        """Record that a key waits for aliases that take no writes: `troubles` holds the reasons by alias.

        `documents` are those under other aliases, which are settled. This watch gets no further calls for the key.
        """
        ...


class Flow(NamedTuple):
    """The number of signals that entered a coalescer since its start, by result.

    `taken` counts all, including those for the rows of a partition; `coalesced` joined a key that was already pending;
    `rows` and `partitions` are keys settled; `forgotten` are keys that were removed because no caller needed them,
    or because another coalescer gets their changes again.
    Together with the pending keys they add up (docs/guarantees.md, promise 7):
    taken = coalesced + rows + partitions + forgotten + pending.
    """

    taken: int
    coalesced: int
    rows: int
    partitions: int
    forgotten: int
