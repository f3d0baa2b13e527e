"""The driver's queries as coroutines, and its errors as ours."""

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

    Raises `CassandraUnavailableError` when no replica answered in time (`CassandraReadError` when one was there and
    failed on the statement, or took too long over it), `CassandraRefusedError` when Cassandra does not know what the
    statement names. What the driver raises while it decodes values (a date beyond Python's years, text that is no
    UTF-8) passes through.
    """
    rows: list[Any] = []
    async for page in pages(session, statement, **options):
        rows.extend(page)
    return rows


async def pages(session: Session, statement: Statement | str, **options: Any) -> AsyncGenerator[list[Any], None]:
    """Run a statement and return its rows page by page; the next page is asked for when this one is used up.

    Raises what `execute` raises.
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
    """Run a statement and return one page of its rows, and where the next page begins; None where there is none.

    Raises what `execute` raises.
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
    """Tell whether the driver got an answer and could not make Python values of it.

    The driver's compiled parsers wrap what a type raises (`cassandra.obj_parser`), its Python ones do not.
    """
    return not isinstance(error, DriverException) or "decoding result column" in str(error)


def as_unavailable(error: BaseException) -> CdcError:
    """Return our error for one of the driver's that says that no answer could be had."""
    if isinstance(error, NoHostAvailable) and any(
        isinstance(inner, AuthenticationFailed) for inner in getattr(error, "errors", {}).values()
    ):
        return CassandraUnavailableError(
            "Cassandra refused the login", hint="check cassandra.username and cassandra.password"
        )
    kind = CassandraReadError if _is_of_the_request(error) else CassandraUnavailableError
    return kind(f"Cassandra did not answer: {type(error).__name__}: {error}")


def _is_of_the_request(error: BaseException) -> bool:
    """Tell whether it may be what was asked for that cannot be answered, and not that nobody is there to answer."""
    if isinstance(error, NoHostAvailable):
        # So the driver says that each node has failed by itself on a request.
        answers = list(getattr(error, "errors", {}).values())
        return bool(answers) and all(isinstance(answer, ServerError) for answer in answers)
    return isinstance(error, (ReadFailure, ReadTimeout, OperationTimedOut))


@contextmanager
def _errors_as_ours() -> Iterator[None]:
    """Raise our errors for those of the driver that say that there is no answer, or that the query is refused."""
    try:
        yield
    except _UNAVAILABLE as error:
        raise as_unavailable(error) from error
    except InvalidRequest as error:
        raise _refused(error) from error


class _Arrival:
    """The page that is waited for, handed over from the driver's thread to the event loop.

    It does not know the driver's future, which knows it: so an answer's rows are freed as soon as they are used.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.rows: asyncio.Future[list[Any]] = self._loop.create_future()

    def expect_next(self) -> None:
        """Wait for another page from here on."""
        self.rows = self._loop.create_future()

    def deliver(self, rows: list[Any] | None) -> None:
        """Take the page's rows from the driver."""
        self._loop.call_soon_threadsafe(_set_result, self.rows, rows or [])

    def fail(self, error: BaseException) -> None:
        """Take from the driver what went wrong."""
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
