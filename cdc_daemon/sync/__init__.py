"""Rows asked for by name: from the ids of a request to keys, and from keys to what became of each."""

from cdc_daemon.sync.errors import (
    HeldObjectTypeError,
    InvalidIdError,
    NotSettledError,
    SyncError,
    TooManyJobsError,
    UnknownObjectTypeError,
)
from cdc_daemon.sync.identifier import Asked
from cdc_daemon.sync.outcome import SyncOutcome
from cdc_daemon.sync.refresh import Refresh
from cdc_daemon.sync.service import SyncService

__all__ = [
    "Asked",
    "HeldObjectTypeError",
    "InvalidIdError",
    "NotSettledError",
    "Refresh",
    "SyncError",
    "SyncOutcome",
    "SyncService",
    "TooManyJobsError",
    "UnknownObjectTypeError",
]
