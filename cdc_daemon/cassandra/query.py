"""Coroutines for the driver's queries, and conversion of its errors to ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any

from cassandra import (
    AuthenticationFailed,
    CoordinationFailure,
    DriverException,
    InvalidRequest,
    OperationTimedOut,
    ReadFailure,
    ReadTimeout,
    RequestExecutionException,
    Unavailable,
)
from cassandra.cluster import NoHostAvailable, ResponseFuture, ResultSet, Session
from cassandra.connection import ConnectionException
from cassandra.protocol import ServerError
from cassandra.query import PreparedStatement, Statement

from cdc_daemon.model.errors import CassandraReadError, CassandraRefusedError, CassandraUnavailableError, CdcError

_UNAVAILABLE = (
    NoHostAvailable,
    OperationTimedOut,
    ConnectionException,
    Unavailable,
    ReadTimeout,
    ReadFailure,
    CoordinationFailure,
    RequestExecutionException,
)


async def execute(session: Session, statement: Statement | str, **options: Any) -> list[Any]:
    """Run a statement and return the rows of all its pages.

    Raises `CassandraUnavailableError` if no replica answered in time (`CassandraReadError` if one was up and
    failed on the statement or timed out), and `CassandraRefusedError` if a name in the statement does not exist in
    Cassandra. The driver's decoding errors (a date beyond Python's years, text that is not UTF-8) are not converted.
    """
    rows: list[Any] = []
    async for page in pages(session, statement, **options):
        rows.extend(page)
    return rows


async def pages(session: Session, statement: Statement | str, **options: Any) -> AsyncGenerator[list[Any], None]:
    """Run a statement and yield its rows page by page; the next page is requested after this one is used.

    Raises as `execute` does.
    """
    arrival = _Arrival()
    with _errors_as_ours():
        future: ResponseFuture = session.execute_async(statement, **options)
        future.add_callbacks(arrival.deliver, arrival.fail)
        while True:
            rows = await arrival.rows
            more = future.has_more_pages
            if rows or not more:
                yield rows
            if not more:
                return
            arrival.expect_next()
            future.start_fetching_next_page()


async def execute_page(
    session: Session, statement: Statement, *, paging_state: bytes | None = None, **options: Any
) -> tuple[list[Any], bytes | None]:
    """Run a statement; return one page of its rows and the paging state of the next page, None after the last.

    Raises as `execute` does.
    """
    arrival = _Arrival()
    with _errors_as_ours():
        future: ResponseFuture = session.execute_async(statement, paging_state=paging_state, **options)
        future.add_callbacks(arrival.deliver, arrival.fail)
        rows = await arrival.rows
    return rows, ResultSet(future, rows).paging_state if future.has_more_pages else None


async def prepare(session: Session, query: str) -> PreparedStatement:
    """Prepare a query on the connected nodes. Raises as `execute` does."""
    with _errors_as_ours():
        return await asyncio.to_thread(session.prepare, query)


def is_decoding_failure(error: Exception) -> bool:
    """Return whether the driver got an answer and could not decode it to Python values.

    The driver's compiled parsers wrap a type's exception (`cassandra.obj_parser`), its Python ones do not.
    """
    return not isinstance(error, DriverException) or "decoding result column" in str(error)


def as_unavailable(error: BaseException) -> CdcError:
    """Convert a driver error that means that Cassandra did not answer."""
    if isinstance(error, NoHostAvailable) and any(
        isinstance(inner, AuthenticationFailed) for inner in getattr(error, "errors", {}).values()
    ):
        return CassandraUnavailableError(
            "Cassandra refused the login", hint="check cassandra.username and cassandra.password"
        )
    kind = CassandraReadError if _is_caused_by_request(error) else CassandraUnavailableError
    return kind(f"Cassandra did not answer: {type(error).__name__}: {error}")


def _is_caused_by_request(error: BaseException) -> bool:
    """Return whether the request itself may be the cause, rather than an outage."""
    if isinstance(error, NoHostAvailable):
        # The driver raises this error if every node has failed on the request.
        failures = list(getattr(error, "errors", {}).values())
        return bool(failures) and all(isinstance(failure, ServerError) for failure in failures)
    return isinstance(error, (ReadFailure, ReadTimeout, OperationTimedOut))


@contextmanager
def _errors_as_ours() -> Iterator[None]:
    """Convert the driver's errors for a missing answer or a refused query to ours."""
    try:
        yield
    except _UNAVAILABLE as error:
        raise as_unavailable(error) from error
    except InvalidRequest as error:
        raise _refused(error) from error


class _Arrival:
    """The next page, passed from the driver's thread to the event loop.

    The driver's future refers to this object. There is no reference in the other direction, so the rows are freed as
    soon as they are used.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.rows: asyncio.Future[list[Any]] = self._loop.create_future()

    def expect_next(self) -> None:
        """Prepare to receive another page."""
        self.rows = self._loop.create_future()

    def deliver(self, rows: list[Any] | None) -> None:
        """Set the page's rows from the driver's thread."""
        self._loop.call_soon_threadsafe(_set_result, self.rows, rows or [])

    def fail(self, error: BaseException) -> None:
        """Set the error from the driver's thread."""
        self._loop.call_soon_threadsafe(_set_exception, self.rows, error)


def _refused(error: InvalidRequest) -> CassandraRefusedError:
    return CassandraRefusedError(
        f"Cassandra refused a query: {error}",
        hint="has the table or a column been dropped or renamed? `cdc-daemon check` compares the mappings with it",
    )


def _set_result(future: asyncio.Future[list[Any]], rows: list[Any]) -> None:
    if not future.done():
        future.set_result(rows)


def _set_exception(future: asyncio.Future[list[Any]], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
