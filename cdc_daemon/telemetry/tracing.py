"""Spans of changes: from a change's write time in Cassandra to its acknowledgement by Elasticsearch.

A change is decoded, waits, is joined with others of its key, read and written in batches: no part of its way is its
own. So it has one span, back-dated to its write time, and no children; bulk requests have their metrics.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from cdc_daemon import __version__
from cdc_daemon.config.tracing import TracingSettings
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.model.signal import TableName

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

log = structlog.get_logger(__name__)

_SAID_AGAIN = 300.0
"""Seconds after which it is said again that a collector does not take spans."""

_LIBRARY = "opentelemetry.exporter"
"""The loggers of what sends spans: each try of each batch is a sentence of its own, and an error."""


class ChangeTracer:
    """Makes spans of a share of the changes; they are sent in batches by a thread, and dropped where it is behind."""

    def __init__(self, provider: TracerProvider, share: float) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("cdc_daemon", __version__)
        self._share = share

    def acknowledged(self, table: TableName, written: float, shown: float) -> str | None:
        """Make the span of a change, both moments in seconds since epoch.

        Returns the trace's id in hexadecimal digits, None for a change that has no span.
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
        """Send what is left, for a few seconds at most; it blocks."""
        self._provider.shutdown()


def make_tracer(settings: TracingSettings, *, node: str) -> ChangeTracer | None:
    """Make a tracer, or none where none is configured. Raises `ConfigError` where OpenTelemetry is not installed."""
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
    """Return what sends spans, and tells now and then that it cannot. Raises `ImportError`."""
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
                    hint="is an OTLP collector there? Changes are not held up by it",
                    every=_SAID_AGAIN,
                )
            return result

    logging.getLogger(_LIBRARY).setLevel(logging.CRITICAL + 1)
    return Exporter(endpoint=endpoint, timeout=5)
