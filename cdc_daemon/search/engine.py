"""The search port: everything that the daemon asks of a search engine.

The requests, the client library and the differences between engines are behind it. The logic of the daemon uses
`SearchEngine` and the answers in this module, whichever engine is used.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from cdc_daemon.search.failure import Failure, broken_answer

T = TypeVar("T")

Aliases = Mapping[str, Mapping[str, Any]]
"""The aliases of one index: name to options."""


class DocumentName(NamedTuple):
    """The location of a document."""

    alias: str
    id: str
    routing: str | None = None


class StoredDocument(NamedTuple):
    """A document: its `_id`, routing value, version, and its source or the requested part of it."""

    id: str
    routing: str | None
    version: int
    source: Mapping[str, Any] | None


class BulkItem(NamedTuple):
    """The result of one action of a bulk request: its status, and its failure if it failed."""

    status: int
    failure: Failure | None = None


class IndexSettings(NamedTuple):
    """The flat settings of one index, and its default settings if requested."""

    settings: Mapping[str, Any]
    defaults: Mapping[str, Any]


class Product(NamedTuple):
    """An engine and its release, such as `2.19.5`. The release is empty if the engine does not say it."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}" if self.version else self.name


class EngineInfo(NamedTuple):
    """The name of the engine, and the release of each node of the cluster."""

    name: str
    versions: Sequence[str]


class SearchEngine(Protocol):
    """A connection to a search engine.

    A `target` is an index or an alias, which names all indices behind it. Each method raises `EngineError`, with the
    failure, if the engine does not answer, refuses, or sends an answer of another shape. It never retries.
    """

    @property
    def product(self) -> Product | None:
        """The engine that answered last; None before the first answer."""
        ...

    async def identify(self) -> Product:
        """Ask which engine answers, and use the client for it from now on; return it.

        Raises `UnsupportedEngineError`, an `EngineError`, for one that the daemon does not support.
        """
        ...

    async def info(self) -> EngineInfo:
        """Return the engine and the releases of its nodes."""
        ...

    async def time(self) -> float | None:
        """Return the clock of a node in seconds since epoch, or None if the engine does not say it."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...

    # Documents

    async def bulk(self, body: bytes, count: int, *, seconds: float, every: bool = False) -> Sequence[BulkItem] | None:
        """Send a bulk request of `count` actions, encoded as NDJSON; return the items in order.

        Only an alias may be written to: an action on anything else fails. Returns None if no action failed, unless
        `every` item is wanted. The request ends after `seconds`; the engine gives up on a shard earlier than that.
        """
        ...

    async def documents(
        self, names: Sequence[DocumentName], *, source: bool | Sequence[str], seconds: float | None = None
    ) -> list[StoredDocument | Failure | None]:
        """Return the current state of each document, without a refresh.

        Returns None for a missing document, and a failure for one that could not be read. `source` selects the whole
        source, none of it, or some of its fields.
        """
        ...

    def scan(
        self,
        target: str,
        *,
        query: Mapping[str, Any] | None = None,
        part: tuple[int, int] | None = None,
        source: Sequence[str] = (),
        page: int = 1000,
        keep_alive: float = 60.0,
    ) -> AsyncGenerator[list[StoredDocument], None]:
        """Yield every document that matches a query, page by page, from one snapshot.

        `part` is a part's number and the number of parts: it selects only that part. Only the `source` fields are
        fetched. `keep_alive` limits the seconds between two pages. A shard that does not answer is a failure. Close
        an iteration that you abandon (`aclose`).
        """
        ...

    async def count(self, target: str) -> int:
        """Return the number of documents that searches find."""
        ...

    async def refresh(self, target: str) -> None:
        """Make all writes visible to searches. A shard that does not refresh is a failure."""
        ...

    # Indices

    async def index_exists(self, name: str) -> bool:
        """Return whether an index or an alias has this name."""
        ...

    async def create_index(
        self, index: str, *, settings: Mapping[str, Any], mappings: Mapping[str, Any], aliases: Aliases
    ) -> None:
        """Create an index with its aliases in one step."""
        ...

    async def try_index(self, index: str, *, settings: Mapping[str, Any], mappings: Mapping[str, Any]) -> None:
        """Check whether an index could be created, without creating it."""
        ...

    async def delete_index(self, index: str) -> None:
        """Delete an index, if it exists."""
        ...

    async def settings(
        self, target: str, names: Sequence[str] = (), *, defaults: bool = False
    ) -> Mapping[str, IndexSettings]:
        """Return the settings of each index, or only those with these names."""
        ...

    async def put_settings(self, index: str, settings: Mapping[str, Any]) -> None:
        """Change settings of an index. A setting of None gets its default value."""
        ...

    async def mappings(self, target: str) -> Mapping[str, Mapping[str, Any]]:
        """Return the mapping of each index."""
        ...

    async def fit_mapping(self, mapping: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a mapping as the engine can have it: fields of types that it does not have are stored only.

        The methods that create or change an index do this by themselves.
        """
        ...

    async def put_mapping(self, index: str, properties: Mapping[str, Any]) -> None:
        """Add fields to the mapping of an index."""
        ...

    async def wait_for_shards(self, index: str, *, seconds: int) -> None:
        """Wait until no shard of an index is being initialised, or the time is over."""
        ...

    # Aliases

    async def aliases(self, targets: Sequence[str]) -> Mapping[str, Aliases]:
        """Return all aliases of each index that one of the targets names. Missing targets are ignored."""
        ...

    async def indices_of(self, alias: str) -> Aliases | None:
        """Return the options of an alias by index, or None if there is no such alias."""
        ...

    async def update_aliases(self, actions: Sequence[Mapping[str, Any]]) -> bool:
        """Add and remove aliases in one atomic step; return whether all nodes have acknowledged it."""
        ...

    # The login

    async def privileges(
        self, names: Sequence[str], privileges: Sequence[str]
    ) -> Mapping[str, Mapping[str, bool]] | None:
        """Return which privileges the login has, by index and privilege, or None if the engine does not say."""
        ...


def of_index(entries: Mapping[str, T], index: str) -> T:
    """Return the entry of an index in an answer. Raises `EngineError` if there is none."""
    if index not in entries:
        raise broken_answer(f"the answer does not contain the index {index}")
    return entries[index]
