"""Errors of requests for rows by id."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from cdc_daemon.model.errors import CdcError


class SyncError(CdcError):
    """A request for rows by id cannot be processed."""


class UnknownObjectTypeError(SyncError):
    """No mapping has the object type's name."""

    def __init__(self, found: str, known: Collection[str]) -> None:
        super().__init__(f"expected one of {', '.join(sorted(known))}, found {found[:64]!r}", object_type=found[:64])

    def __reduce__(self) -> tuple[Any, ...]:
        return SyncError, (self.message,)


class SuspendedObjectTypeError(SyncError):
    """The object type is suspended: its table was re-created, and its mapping does not fit it at present."""

    retryable = True

    def __init__(self, object_type: str, reason: str) -> None:
        super().__init__(f"its mapping does not fit its table: {reason}", object_type=object_type)

    def __reduce__(self) -> tuple[Any, ...]:
        return SyncError, (self.message,)


class InvalidIdError(SyncError):
    """An id is invalid for the object type's table. `at` is its index in the list, `column` the invalid part."""

    def __init__(self, message: str, *, at: int = 0, column: str | None = None) -> None:
        super().__init__(message, at=at, column=column)
        self.at = at
        self.column = column

    def __reduce__(self) -> tuple[Any, ...]:
        return SyncError, (self.message,)


class TooManyJobsError(SyncError):
    """The maximum number of open jobs is reached."""

    retryable = True
