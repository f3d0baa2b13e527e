"""The driver's errors, as the fault of a request or of the servers."""

from __future__ import annotations

import pytest
from cassandra import ConsistencyLevel, OperationTimedOut, ReadFailure, ReadTimeout, Unavailable
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionException
from cassandra.protocol import OverloadedErrorMessage, ServerError

from cdc_daemon.cassandra.query import as_unavailable
from cdc_daemon.model.errors import CassandraReadError, CassandraUnavailableError

BROKEN = ServerError(0x0000, "java.lang.RuntimeException", None)
BUSY = OverloadedErrorMessage(0x1001, "too many requests", None)


@pytest.mark.parametrize(
    "error",
    [
        ReadFailure("tombstones", consistency=ConsistencyLevel.LOCAL_QUORUM, error_code_map={"203.0.113.1": 1}),
        ReadTimeout("slow", consistency=ConsistencyLevel.LOCAL_QUORUM),
        OperationTimedOut({"203.0.113.1": "Client request timeout"}),
        NoHostAvailable("none", {"203.0.113.1": BROKEN, "203.0.113.2": BROKEN}),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_single_row_may_be_the_reason_of(error: Exception) -> None:
    assert type(as_unavailable(error)) is CassandraReadError


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("no replica", consistency=ConsistencyLevel.LOCAL_QUORUM),
        ConnectionException("closed"),
        NoHostAvailable("none", {}),
        NoHostAvailable("none", {"203.0.113.1": BROKEN, "203.0.113.2": BUSY}),
        NoHostAvailable("none", {"203.0.113.1": ConnectionException("closed")}),
    ],
    ids=["Unavailable", "ConnectionException", "no host", "overloaded", "not connected"],
)
def test_what_no_row_is_the_reason_of(error: Exception) -> None:
    assert type(as_unavailable(error)) is CassandraUnavailableError
