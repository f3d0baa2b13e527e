"""Spans as a collector gets them, over real HTTP."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.exposition import choose_encoder
from structlog.testing import capture_logs

from cdc_daemon.config.settings import TracingSettings
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.model.signal import TableName
from cdc_daemon.pipeline.metrics import PipelineMetrics
from cdc_daemon.telemetry.metrics import Metrics
from cdc_daemon.telemetry.tracing import make_tracer

TABLE = TableName("sunbird", "user")


class Collector:
    """Takes spans in as a collector of OpenTelemetry does."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.requests.append(ExportTraceServiceRequest.FromString(_inflated(self.headers, body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/traces"

    @property
    def spans(self) -> list[Any]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


def _inflated(headers: Any, body: bytes) -> bytes:
    assert headers.get("content-encoding") in {None, "identity"}
    return body


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    serving = Thread(target=made.server.serve_forever)
    serving.start()
    yield made
    made.server.shutdown()
    serving.join()
    made.server.server_close()


def test_a_change_has_a_span_from_its_write_time_to_its_acknowledgement(collector: Collector) -> None:
    tracer = make_tracer(TracingSettings(endpoint=collector.url, share=1), node="node-1")
    assert tracer is not None
    trace = tracer.acknowledged(TABLE, 1_700_000_000.0, 1_700_000_000.25)
    tracer.close()
    (span,) = collector.spans
    assert span.name == "replicate sunbird.user"
    assert span.start_time_unix_nano == 1_700_000_000_000_000_000
    assert span.end_time_unix_nano - span.start_time_unix_nano == 250_000_000
    assert span.trace_id.hex() == trace
    attributes = {each.key: each.value.string_value for each in span.attributes}
    assert attributes == {"db.system.name": "cassandra", "db.namespace": "sunbird", "db.collection.name": "user"}
    (resource,) = collector.requests[0].resource_spans
    named = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert (named["service.name"], named["service.instance.id"]) == ("cdc-daemon", "node-1")


def test_the_lag_has_the_trace_as_an_exemplar(collector: Collector) -> None:
    tracer = make_tracer(TracingSettings(endpoint=collector.url, share=1), node="node-1")
    assert tracer is not None
    metrics = Metrics()
    PipelineMetrics(metrics, tracer).shown(TABLE, int((time.time() - 0.06) * 1e6))
    tracer.close()
    (span,) = collector.spans
    encode, _ = choose_encoder("application/openmetrics-text; version=1.0.0")
    assert f'# {{trace_id="{span.trace_id.hex()}"}}' in encode(metrics.registry).decode()


def test_a_share_of_the_changes_has_spans(collector: Collector) -> None:
    tracer = make_tracer(TracingSettings(endpoint=collector.url, share=0.2), node="node-1")
    assert tracer is not None
    traces = [tracer.acknowledged(TABLE, 1.0, 2.0) for _ in range(2000)]
    tracer.close()
    made = len([trace for trace in traces if trace is not None])
    assert 200 < made < 800
    assert len(collector.spans) == made


def test_without_an_endpoint_there_is_no_tracer() -> None:
    assert make_tracer(TracingSettings(), node="node-1") is None


def test_what_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigError, match="OpenTelemetry") as caught:
        make_tracer(TracingSettings(endpoint="http://127.0.0.1:4318/v1/traces"), node="node-1")
    assert "cdc-daemon[otel]" in str(caught.value.hint)


@pytest.mark.slow
def test_a_collector_that_is_away_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    tracer = make_tracer(TracingSettings(endpoint="http://127.0.0.1:9/v1/traces", share=1), node="node-1")
    assert tracer is not None
    tracer.acknowledged(TABLE, 1.0, 2.0)
    with capture_logs() as events:
        tracer.close()
    (event,) = [event for event in events if event["event"] == "tracing.not_sent"]
    assert (event["endpoint"], event["spans"], event["log_level"]) == ("http://127.0.0.1:9/v1/traces", 1, "warning")
    assert event["every"]
    assert not [record for record in caplog.records if record.name.startswith("opentelemetry.exporter")]
