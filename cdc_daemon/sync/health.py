"""What the bulk writer knows of Elasticsearch, for those who would rather not wait for it."""

from __future__ import annotations

from cdc_daemon.elastic.bulk import BulkWriter
from cdc_daemon.pipeline.watch import Trouble


class WriterHealth:
    """Tells what a bulk writer knows."""

    def __init__(self, writer: BulkWriter) -> None:
        self._writer = writer

    def trouble(self) -> Trouble | None:
        """Tell why nothing can be written at present; None while nothing is known to be wrong."""
        if self._writer.available:
            return None
        failure = self._writer.failure
        return Trouble("elasticsearch", "it is away" if failure is None else f"{failure.error_type}: {failure.reason}")
