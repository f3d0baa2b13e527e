"""Watch the folders of segments for changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import structlog
from watchfiles import awatch

log = structlog.get_logger(__name__)

_GATHER = 100
"""Milliseconds in which changes are combined into one event.

The watcher's thread wakes up as often, also without a change. Nothing waits for it: Cassandra makes a segment before it
needs it, and the growth of a segment is found by reading (`commit_log.poll_interval`)."""


class FolderWatch:
    """Calls `changed` when a file in the folder, or in `commitlog`, is created, renamed, deleted or rewritten.

    It only avoids waiting for the next listing: Cassandra's writes through memory maps cause no events, and some file
    systems send none at all. So a watch that cannot be started is logged once and retried from time to time.
    """

    def __init__(
        self, folder: Path, changed: Callable[[], None], *, commitlog: Path | None = None, retry: float = 60.0
    ) -> None:
        self._folders = [folder] if commitlog is None else [folder, commitlog]
        self._changed = changed
        self._retry = retry

    async def run(self) -> None:
        """Watch until cancelled."""
        # It logs each change at level INFO, which would bury the daemon's own lines.
        logging.getLogger("watchfiles").setLevel(logging.WARNING)
        logged = False
        while True:
            try:
                async for _ in awatch(
                    *self._folders, watch_filter=None, debounce=_GATHER, step=_GATHER, recursive=False
                ):
                    self._changed()
            except (OSError, RuntimeError) as error:
                # The watcher's Rust half raises RuntimeError when the kernel's limits are reached.
                if not logged:
                    log.warning(
                        "tail.watch_unavailable",
                        folders=[str(folder) for folder in self._folders],
                        error=str(error),
                        hint="changes are found by listing the folder; raise fs.inotify.max_user_watches or "
                        "max_user_instances if this is the kernel's limit",
                    )
                    logged = True
            await asyncio.sleep(self._retry)
