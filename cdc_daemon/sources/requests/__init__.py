"""Requests for rows by id: parses the ids into keys, replicates the rows, and reports the outcome of each id."""

from cdc_daemon.sources.requests.errors import (
    InvalidIdError,
    SuspendedObjectTypeError,
    SyncError,
    TooManyJobsError,
    UnknownObjectTypeError,
)
from cdc_daemon.sources.requests.ids import RequestedId
from cdc_daemon.sources.requests.outcome import NotReplicatedError, SyncOutcome
from cdc_daemon.sources.requests.refresh import Refresh
from cdc_daemon.sources.requests.service import SyncService

__all__ = [
    "InvalidIdError",
    "NotReplicatedError",
    "Refresh",
    "RequestedId",
    "SuspendedObjectTypeError",
    "SyncError",
    "SyncOutcome",
    "SyncService",
    "TooManyJobsError",
    "UnknownObjectTypeError",
]
