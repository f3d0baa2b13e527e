"""Spans of changes: from a change's write time in Cassandra to its acknowledgement by Elasticsearch.

A change is decoded, waits, is joined with others of its key, read and written in batches: no part of its way is its
own. So it has one span, back-dated to its write time, and no children; bulk requests have their metrics.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from cdc_daemon import __version__
from cdc_daemon.config.tracing import TracingSettings
from cdc_daemon.errors import ConfigError
from cdc_daemon.pipeline.signal import TableName

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider


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
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  an extra
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  likewise
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415  likewise
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415  likewise
    except ImportError as error:
        raise ConfigError(
            f"expected OpenTelemetry for tracing.endpoint, found none: {error}", hint="pip install 'cdc-daemon[otel]'"
        ) from error
    resource = Resource.create(
        {"service.name": "cdc-daemon", "service.version": __version__, "service.instance.id": node}
    )
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.endpoint, timeout=5)))
    return ChangeTracer(provider, settings.share)
