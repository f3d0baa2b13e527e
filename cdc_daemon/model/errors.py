"""The errors that cdc-daemon raises: one root class; subclasses state place, expectation and remedy."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple


class CdcError(Exception):
    """Root of the errors that the daemon raises when an operation fails.

    `message` states what was expected and what was found. `hint`, if there is one, states the
    remedy. `where` holds every known part of the place (segment, offset, table, key, index, document id, …),
    so that a log line, a dead letter and a terminal can each format it.
    Errors can be pickled. An error never contains a secret.
    """

    retryable: ClassVar[bool] = False
    """Whether a later retry can succeed without a change by anyone."""

    def __init__(self, message: str, *, hint: str | None = None, **where: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where: dict[str, Any] = {name: value for name, value in where.items() if value is not None}

    def __str__(self) -> str:
        place = ", ".join(f"{name} {value}" for name, value in self.where.items())
        text = f"{place}: {self.message}" if place else self.message
        return f"{text} ({self.hint})" if self.hint else text

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.hint, self.where)


def _rebuild(kind: type[CdcError], message: str, hint: str | None, where: dict[str, Any]) -> CdcError:
    return kind(message, hint=hint, **where)


class ConfigError(CdcError):
    """The configuration is invalid."""


class IndexRefusedError(ConfigError):
    """Elasticsearch rejects the configured settings and mappings of an index."""


class CommitLogError(CdcError):
    """A commit-log segment cannot be read.

    `data` are the bytes that could not be read, if they are known; they are never part of the message.
    """

    def __init__(self, message: str, *, data: bytes | None = None, hint: str | None = None, **where: Any) -> None:
        super().__init__(message, hint=hint, **where)
        self.data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.hint, {**self.where, "data": self.data})


class UnsupportedSegmentError(CommitLogError):
    """The segment has a version, compression or encryption that this reader does not support."""


class DamagedSegmentError(CommitLogError):
    """Bytes that a sync marker covers do not match their checksum or contradict each other."""


class MutationError(CommitLogError):
    """An entry's checksums are correct, but its mutation cannot be decoded with the known schema."""


class UnknownTableError(MutationError):
    """A mutation carries an update of a table id that no known schema has."""


class LockedError(CdcError):
    """Another process holds the lock on the folder or the state that this daemon needs exclusively."""


class StoreError(CdcError):
    """The daemon's own state cannot be read or written."""


class StateLostError(StoreError):
    """The state's files were deleted or replaced while the daemon runs: anything it writes is lost when it ends."""


class CassandraUnavailableError(CdcError):
    """Cassandra did not answer, or not enough replicas did."""

    retryable = True


class CassandraReadError(CassandraUnavailableError):
    """Cassandra was reached, but the request failed or timed out; a single row may be the cause."""


class CassandraRefusedError(CdcError):
    """Cassandra does not know a name in a query: a table or column that was dropped or renamed."""

    retryable = True


class TableDroppedError(CassandraRefusedError):
    """A table no longer exists, and all nodes agree on that."""


class TableRekeyedError(CassandraRefusedError):
    """A table was created again with another primary key; objects built for the old key have to be built again."""


class ElasticsearchUnavailableError(CdcError):
    """Elasticsearch did not answer, or refused for a temporary reason."""

    retryable = True


class ElasticsearchRefusedError(CdcError):
    """Elasticsearch refused for a reason that an operator has to fix: a missing alias, a block, a closed index."""

    retryable = True


def alias_of(error: BaseException | None) -> str | None:
    """Return the alias that an Elasticsearch error concerns, if the error names one."""
    if isinstance(error, (ElasticsearchUnavailableError, ElasticsearchRefusedError)):
        alias = error.where.get("alias")
        return alias if isinstance(alias, str) else None
    return None


class PeerError(CdcError):
    """Another daemon of the ring did not answer, or its answer cannot be believed."""

    retryable = True


class PeerLeftError(PeerError):
    """The node of another daemon has left the ring, so that daemon will never answer."""


class IndexSwapError(CdcError):
    """The indices behind an alias are not in the state that the operation requires."""


class DocumentError(CdcError):
    """A document cannot be built from its row. The class is the reason of its dead letter, so its name is fixed."""


class HookError(DocumentError):
    """A hook raised an error, or returned an invalid document."""


class JsonTextError(DocumentError):
    """A text that has to be JSON is not valid JSON."""


class ExpressionError(DocumentError):
    """A computed field or a condition cannot be evaluated with the values of a row."""


class ConversionError(DocumentError):
    """A value cannot be converted for a document: it does not fit its field's declaration, or JSON."""


class JoinLimitError(DocumentError):
    """A row has more joined rows than its document may show."""


class IdError(DocumentError):
    """A row's key cannot be converted to an `_id` that Elasticsearch accepts."""


class UndecodableError(DocumentError):
    """The bytes of a row's key or values, or of rows joined to it, cannot be decoded."""


NOT_BUILT = frozenset(
    error.__name__
    for error in (
        *(DocumentError, HookError, JsonTextError, ExpressionError, ConversionError),
        *(JoinLimitError, IdError, UndecodableError, CassandraReadError),
    )
)
"""Dead-letter reasons of documents that could not be built; other letters have Elasticsearch's `error.type`."""


class Trouble(NamedTuple):
    """Why a key is not settled yet: `service` is `cassandra`, `elasticsearch` or `daemon`.

    `alias` is set if the trouble concerns one alias and the service itself is available.
    """

    service: str
    reason: str
    alias: str | None = None

    @classmethod
    def of(cls, error: CdcError) -> Trouble:
        """Return the trouble that an error reports."""
        if isinstance(error, (CassandraUnavailableError, CassandraRefusedError)):
            return cls("cassandra", error.message)
        if isinstance(error, (ElasticsearchUnavailableError, ElasticsearchRefusedError)):
            return cls("elasticsearch", error.message)
        return cls("daemon", error.message)
