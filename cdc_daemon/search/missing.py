"""Indices that were deleted while the daemon runs: when they may be created again."""

from __future__ import annotations

import time
from collections.abc import Callable

from cdc_daemon.model.errors import ElasticsearchRefusedError


class MissingIndices:
    """Since when the index behind each alias is missing. `clock` returns monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}

    def check(self, alias: str, *, pause: float) -> None:
        """Raise `ElasticsearchRefusedError` unless the index has been missing for `pause` seconds."""
        since = self._since.setdefault(alias, self._clock())
        if self._clock() - since < pause:
            raise ElasticsearchRefusedError(
                "there is no such alias",
                hint=f"if it is still missing after {pause:g} s, the daemon creates the index again and backfills it",
                alias=alias,
            )

    def found(self, alias: str) -> None:
        """Record that the alias leads to an index."""
        self._since.pop(alias, None)
