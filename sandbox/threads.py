"""Threads that work while a block runs: a load on servers, or something that watches them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Self


class BackgroundThreads:
    """Threads, one for each of the `works` by name, that run during a block or until `stop`.

    A work ends soon after `stopping` is set. `broken` has the errors of works; the first one is raised where the
    threads are joined, unless the block has an error of its own.
    """

    def __init__(self, works: Mapping[str, Callable[[], None]]) -> None:
        self.stopping = threading.Event()
        self.broken: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(work,), name=name, daemon=True) for name, work in works.items()
        ]

    def stop(self) -> None:
        """Stop, and return when no work is in progress. Raises the error of a work."""
        self._join()
        if self.broken:
            raise self.broken[0]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.stop()
        else:
            self._join()

    def _join(self) -> None:
        self.stopping.set()
        for thread in self._threads:
            if thread.ident is not None:  # a thread that did not start cannot be joined
                thread.join()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 -- it is raised where the threads are joined
            self.broken.append(error)


@contextmanager
def background(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run `work` in a thread during a block; at the block's end the event is set. Raises the error of the work."""
    threads = BackgroundThreads({"background": lambda: work(threads.stopping)})
    with threads:
        yield
