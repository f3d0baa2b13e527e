"""The errors that cdc-daemon raises: one root, children that say where, what was expected, and what to do."""

from __future__ import annotations

from typing import Any, ClassVar


class CdcError(Exception):
    """Something the daemon was asked to do could not be done.

    `message` states what was expected and what was found. `hint`, when there is one, says what to do
    about it. Everything known of the place (segment, offset, table, key, index, document id, …) is in
    `where`, so that a log line, a dead letter and a terminal can each show it in their own way.
    Errors can be pickled. No secret is ever put into one.
    """

    retryable: ClassVar[bool] = False
    """Whether doing the same again later can succeed without anybody changing anything."""

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
    """The configuration cannot be used as it is."""


class IndexRefusedError(ConfigError):
    """Elasticsearch will not create an index with the settings and mappings that the configuration gives it."""


class CommitLogError(CdcError):
    """A commit-log segment cannot be read as it is.

    `data` are the bytes that could not be read, where they are known; they are never part of the text.
    """

    def __init__(self, message: str, *, data: bytes | None = None, hint: str | None = None, **where: Any) -> None:
        super().__init__(message, hint=hint, **where)
        self.data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.hint, {**self.where, "data": self.data})


class UnsupportedSegmentError(CommitLogError):
    """The segment is of a version, compression or encryption that this reader does not know."""


class DamagedSegmentError(CommitLogError):
    """Bytes that a sync marker covers do not match their checksum or contradict each other."""


class MutationError(CommitLogError):
    """An entry's checksums hold, but its mutation cannot be decoded with the schema at hand."""


class UnknownTableError(MutationError):
    """A mutation carries an update of a table id that no known schema has."""


class LockedError(CdcError):
    """Another process holds the folder or the state this daemon needs to itself."""


class StoreError(CdcError):
    """The daemon's own state cannot be read or written."""


class StateLostError(StoreError):
    """The state's files were deleted or replaced while the daemon runs: what it writes is gone when it ends."""


class CassandraUnavailableError(CdcError):
    """Cassandra did not answer, or not enough replicas did."""

    retryable = True


class CassandraReadError(CassandraUnavailableError):
    """Cassandra was reached, and failed on what was asked for, or took too long over it: one row may be the reason."""


class CassandraRefusedError(CdcError):
    """Cassandra does not know what a query names: a table or column that was dropped or renamed."""

    retryable = True


class TableDroppedError(CassandraRefusedError):
    """A table is not there any more, and all nodes agree on that."""


class TableRekeyedError(CassandraRefusedError):
    """A table was created again with another primary key; what is made for the old one has to be made anew."""


class ElasticsearchUnavailableError(CdcError):
    """Elasticsearch did not answer, or refused for a reason that passes by itself."""

    retryable = True


class BrokenAnswerError(ElasticsearchUnavailableError):
    """Elasticsearch, or what answers in its place, answered a request with something that is no answer to it."""


class ElasticsearchRefusedError(CdcError):
    """Elasticsearch refused for a reason that an operator has to mend: a missing alias, a block, a closed index."""

    retryable = True


def alias_of(error: BaseException | None) -> str | None:
    """Return the alias whose trouble an error of Elasticsearch is, as far as the error names one."""
    if isinstance(error, (ElasticsearchUnavailableError, ElasticsearchRefusedError)):
        alias = error.where.get("alias")
        return alias if isinstance(alias, str) else None
    return None


class IndexPairError(CdcError):
    """The indices behind an alias are not as they have to be for what was asked for."""


class DocumentError(CdcError):
    """A document cannot be built from its row. The class is the reason of its dead letter, so its name is kept."""


class HookError(DocumentError):
    """A hook raised, or returned what is no document."""


class JsonTextError(DocumentError):
    """A text that has to hold JSON holds none."""


class ExpressionError(DocumentError):
    """A computed field or a condition cannot be worked out from the values of a row."""


class ConversionError(DocumentError):
    """A value has no form in a document: it does not fit its field's declaration, or JSON."""


class JoinLimitError(DocumentError):
    """A row has more joined rows than its document may show."""


class IdError(DocumentError):
    """A row's key makes no `_id` that Elasticsearch takes."""


class UndecodableError(DocumentError):
    """The bytes of a row's key or values, or of rows joined to it, cannot be decoded."""


NOT_BUILT = frozenset(
    error.__name__
    for error in (
        *(DocumentError, HookError, JsonTextError, ExpressionError, ConversionError),
        *(JoinLimitError, IdError, UndecodableError, CassandraReadError),
    )
)
"""The reasons of dead letters whose documents could not be built; those of others are Elasticsearch's `error.type`."""
