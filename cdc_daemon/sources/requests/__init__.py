"""Requests for rows by id: parse ids to keys, write their documents, and report the outcome of each."""

from cdc_daemon.sources.requests.errors import (
    InvalidIdError,
    NotSettledError,
    SuspendedObjectTypeError,
    SyncError,
    TooManyJobsError,
    UnknownObjectTypeError,
)
from cdc_daemon.sources.requests.ids import RequestedId
from cdc_daemon.sources.requests.outcome import SyncOutcome
from cdc_daemon.sources.requests.refresh import Refresh
from cdc_daemon.sources.requests.service import SyncService

__all__ = [
    "InvalidIdError",
    "NotSettledError",
    "Refresh",
    "RequestedId",
    "SuspendedObjectTypeError",
    "SyncError",
    "SyncOutcome",
    "SyncService",
    "TooManyJobsError",
    "UnknownObjectTypeError",
]
