"""What the pipeline knows of the servers, for those who would rather not wait for them."""

from __future__ import annotations

from collections.abc import Collection

from cdc_daemon.elastic.pair_writer import PairWriter
from cdc_daemon.pipeline.entry import Key
from cdc_daemon.pipeline.waits import Waits
from cdc_daemon.pipeline.watch import Trouble


class ServerHealth:
    """Tells what a bulk writer knows of Elasticsearch, and the workers' waits of both servers."""

    def __init__(self, writer: PairWriter, waits: Waits) -> None:
        self._writer = writer
        self._waits = waits

    def trouble(self) -> Trouble | None:
        """Tell why nothing can be written at present; None while nothing is known to be wrong."""
        if self._writer.available:
            return None
        failure = self._writer.failure
        return Trouble("elasticsearch", "it is away" if failure is None else f"{failure.error_type}: {failure.reason}")

    def suspicion(self, at_least: float, keys: Collection[Key]) -> Trouble | None:
        """Tell which server lets workers wait, for so many seconds or because of a failure; of `keys` first of all."""
        return self._waits.trouble(at_least, keys)
