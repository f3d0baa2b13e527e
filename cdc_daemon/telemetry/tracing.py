"""Spans of changes: from a change's write time in Cassandra to its acknowledgement by Elasticsearch.

A change shares every stage with others: it is decoded, waits, is merged with other changes of its key, and is read
and written in batches. So it has one span, back-dated to its write time, without children. Bulk requests have metrics.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from cdc_daemon import __version__
from cdc_daemon.config.settings import TracingSettings
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.model.signal import TableName

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

log = structlog.get_logger(__name__)

_LOG_INTERVAL = 300.0
"""Seconds between repeated log messages that a collector does not accept spans."""

_LIBRARY = "opentelemetry.exporter"
"""The loggers of the span exporter. They log every failed attempt of every batch as an error."""


class ChangeTracer:
    """Creates spans for a share of the changes. A thread sends them in batches; they are dropped if it falls behind."""

    def __init__(self, provider: TracerProvider, share: float) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("cdc_daemon", __version__)
        self._share = share

    def acknowledged(self, table: TableName, written: float, shown: float) -> str | None:
        """Create the span of a change. `written` and `shown` are in seconds since epoch.

        Return the trace's id in hexadecimal digits, or None for a change without a span.
        """
        if random.random() >= self._share:  # noqa: S311 -- no secret
            return None
        span = self._tracer.start_span(
            f"replicate {table}",
            start_time=round(written * 1e6) * 1000,
            attributes={
                "db.system.name": "cassandra",
                "db.namespace": table.keyspace,
                "db.collection.name": table.table,
            },
        )
        span.end(round(max(shown, written) * 1e6) * 1000)
        return f"{span.get_span_context().trace_id:032x}"

    def close(self) -> None:
        """Send the remaining spans. Blocks for a few seconds at most."""
        self._provider.shutdown()


def make_tracer(settings: TracingSettings, *, node: str) -> ChangeTracer | None:
    """Create a tracer; None if tracing is not configured. Raises `ConfigError` if OpenTelemetry is not installed."""
    if settings.endpoint is None:
        return None
    try:
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  an extra
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415  likewise
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415  likewise

        exporter = _make_exporter(settings.endpoint)
    except ImportError as error:
        raise ConfigError(
            f"expected OpenTelemetry for tracing.endpoint, found none: {error}", hint="pip install 'cdc-daemon[otel]'"
        ) from error
    resource = Resource.create(
        {"service.name": "cdc-daemon", "service.version": __version__, "service.instance.id": node}
    )
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return ChangeTracer(provider, settings.share)


def _make_exporter(endpoint: str) -> SpanExporter:
    """Return a span exporter with rate-limited warnings about failures. Raises `ImportError`."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  an extra
    from opentelemetry.sdk.trace.export import SpanExportResult  # noqa: PLC0415  likewise

    class Exporter(OTLPSpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            result = super().export(spans)
            if result is not SpanExportResult.SUCCESS:
                log.warning(
                    "tracing.not_sent",
                    endpoint=endpoint,
                    spans=len(spans),
                    hint="is an OTLP collector running at this address? Replication is not affected",
                    every=_LOG_INTERVAL,
                )
            return result

    logging.getLogger(_LIBRARY).setLevel(logging.CRITICAL + 1)
    return Exporter(endpoint=endpoint, timeout=5)
