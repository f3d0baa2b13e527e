"""Why a request for rows by name is not done, or not done yet."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from cdc_daemon.model.errors import CdcError
from cdc_daemon.sources.requests.outcome import SyncOutcome


class SyncError(CdcError):
    """A request for rows by name cannot be done as it is."""


class UnknownObjectTypeError(SyncError):
    """No mapping has the object type's name."""

    def __init__(self, found: str, known: Collection[str]) -> None:
        super().__init__(f"expected one of {', '.join(sorted(known))}, found {found[:64]!r}", object_type=found[:64])

    def __reduce__(self) -> tuple[Any, ...]:
        return SyncError, (self.message,)


class HeldObjectTypeError(SyncError):
    """The object type's mapping does not fit its table at present, which was created again."""

    retryable = True

    def __init__(self, object_type: str, reason: str) -> None:
        super().__init__(f"its mapping does not fit its table: {reason}", object_type=object_type)

    def __reduce__(self) -> tuple[Any, ...]:
        return SyncError, (self.message,)


class InvalidIdError(SyncError):
    """An id is none of the object type's table. `at` is its place in the list, `column` the part that is wrong."""

    def __init__(self, message: str, *, at: int = 0, column: str | None = None) -> None:
        super().__init__(message, at=at, column=column)
        self.at = at
        self.column = column

    def __reduce__(self) -> tuple[Any, ...]:
        return SyncError, (self.message,)


class TooManyJobsError(SyncError):
    """As many jobs wait as may."""

    retryable = True


class NotSettledError(CdcError):
    """Not every id could be settled in time.

    `service` is what is away: `cassandra`, `elasticsearch` or `daemon`. `alias` is the one that takes no writes, where
    that is the reason. `outcome` tells of the ids that were settled; of the others nothing is done any more.
    """

    retryable = True

    def __init__(self, message: str, *, service: str, outcome: SyncOutcome, alias: str | None = None) -> None:
        super().__init__(message, service=service, alias=alias)
        self.service = service
        self.alias = alias
        self.outcome = outcome

    def __reduce__(self) -> tuple[Any, ...]:
        return CdcError, (self.message,)
