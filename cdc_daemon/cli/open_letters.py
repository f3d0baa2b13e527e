"""A daemon's dead letters opened beside it, whether it runs or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cdc_daemon.store import Store
from cdc_daemon.store.dead_letters import DeadLetters
from cdc_daemon.store.store import FILE_NAME


@contextmanager
def open_letters(directory: Path) -> Iterator[DeadLetters | None]:
    """Give the letters of a state directory; None, and nothing is made, where no daemon ever kept anything.

    Raises `StoreError` where the state cannot be read.
    """
    if not (directory / FILE_NAME).is_file():
        yield None
        return
    store = Store(directory)
    try:
        yield store.dead_letters
    finally:
        store.close()
