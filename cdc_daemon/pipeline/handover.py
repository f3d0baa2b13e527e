"""Signals handed over and waited for: what a part does that has no line of acknowledgements of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from cdc_daemon.model.errors import ElasticsearchRefusedError
from cdc_daemon.model.key import Key
from cdc_daemon.model.reading import Reading
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Signal
from cdc_daemon.model.trouble import Trouble

Submit = Callable[[Sequence[Signal], Receipt], Awaitable[None]]
"""Takes signals in, and holds the receipt for each until it is settled."""


class BackgroundSink(Protocol):
    """The pipeline, as far as work that may wait needs it."""

    async def submit_background(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        """Take signals in that may wait for all others; wait while there is no room."""
        ...


class RowSink(BackgroundSink, Protocol):
    """The pipeline, as far as work that may wait, and reads rows itself, needs it."""

    async def submit_rows(self, keys: Sequence[Key], reading: Reading, receipt: Receipt) -> None:
        """Take rows in that were read already, aligned with the keys; wait while there is no room."""
        ...


async def hand_over(submit: Submit, signals: Sequence[Signal], *, alias: str | None = None) -> None:
    """Hand signals over and return when each is settled in Elasticsearch.

    Raises `ElasticsearchRefusedError` when all others are settled, but some wait for an alias that takes no writes:
    these have to be handed over again. With an `alias` no other concerns them.
    """
    refused = (await _hand_over(submit, signals, refusable=True, alias=alias)).refused
    if refused:
        raise refusal_of(next(iter(refused.values())))


async def hand_over_each(submit: Submit, signals: Sequence[Signal]) -> Mapping[Key, Trouble]:
    """Hand signals over and return, when all others are settled, the keys that wait for an alias, and why."""
    return (await _hand_over(submit, signals, refusable=True)).refused


async def hand_over_for_good(submit: Submit, signals: Sequence[Signal]) -> None:
    """Hand signals over that cannot come again; return when each is settled in Elasticsearch, or is in the spool."""
    await _hand_over(submit, signals, refusable=False)


def refusal_of(trouble: Trouble) -> ElasticsearchRefusedError:
    """Return the error that says that keys wait for an alias which takes no writes."""
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
