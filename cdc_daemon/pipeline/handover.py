"""Submits signals and waits for them, for callers without an acknowledgement line of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from cdc_daemon.model.errors import ElasticsearchRefusedError, Trouble
from cdc_daemon.model.reading import Reading
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Key, Signal, TableName

Submit = Callable[[Sequence[Signal], Receipt], Awaitable[None]]
"""Submits signals, and holds the receipt for each until it is settled."""


class BackgroundSink(Protocol):
    """The part of the pipeline that background work needs."""

    async def submit_background(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        """Submit signals that can wait for all others; wait while the pipeline is full."""
        ...


class RowSink(BackgroundSink, Protocol):
    """The part of the pipeline that background work needs if it reads rows itself."""

    async def submit_rows(self, keys: Sequence[Key], reading: Reading, receipt: Receipt) -> None:
        """Submit rows that were already read, aligned with the keys; wait while the pipeline is full."""
        ...


class InFlightRows(Protocol):
    """The rows that are being read or written."""

    async def wait_landed(self, table: TableName, seconds: float) -> None:
        """Wait until each row of a table that is being read or written now is written, with a timeout."""
        ...


async def hand_over(submit: Submit, signals: Sequence[Signal], *, alias: str | None = None) -> None:
    """Submit signals and return when each is settled in Elasticsearch.

    Raises `ElasticsearchRefusedError` when all others are settled, but some wait for an alias that takes no writes:
    these have to be submitted again. With an `alias`, only that alias is relevant.
    """
    refused = (await _hand_over(submit, signals, refusable=True, alias=alias)).refused
    if refused:
        raise refusal_of(next(iter(refused.values())))


async def hand_over_each(submit: Submit, signals: Sequence[Signal]) -> Mapping[Key, Trouble]:
    """Submit signals; when all others are settled, return the keys that wait for an alias, each with the reason."""
    return (await _hand_over(submit, signals, refusable=True)).refused


async def hand_over_for_good(submit: Submit, signals: Sequence[Signal]) -> None:
    """Submit signals that cannot be repeated; return when each is settled in Elasticsearch or is in the spool."""
    await _hand_over(submit, signals, refusable=False)


def refusal_of(trouble: Trouble) -> ElasticsearchRefusedError:
    """Return the error for keys that wait for an alias which takes no writes."""
    return ElasticsearchRefusedError(trouble.reason, alias=trouble.alias)


async def _hand_over(
    submit: Submit, signals: Sequence[Signal], *, refusable: bool, alias: str | None = None
) -> Receipt:
    settled = asyncio.Event()
    receipt = Receipt(settled.set, refusable=refusable, alias=alias)
    try:
        await submit(signals, receipt)
    finally:
        receipt.release()
    await settled.wait()
    return receipt
