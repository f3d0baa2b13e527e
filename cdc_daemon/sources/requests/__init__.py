"""Requests for rows by id: parse ids to keys, write their documents, and report the outcome of each."""

from cdc_daemon.sources.requests.errors import (
    HeldObjectTypeError,
    InvalidIdError,
    NotSettledError,
    SyncError,
    TooManyJobsError,
    UnknownObjectTypeError,
)
from cdc_daemon.sources.requests.identifier import Asked
from cdc_daemon.sources.requests.outcome import SyncOutcome
from cdc_daemon.sources.requests.refresh import Refresh
from cdc_daemon.sources.requests.service import SyncService

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
