"""Another engine or release is noticed although no request fails."""

from __future__ import annotations

import asyncio
from typing import cast

from structlog.testing import capture_logs

from cdc_daemon.search.engine import Product, SearchEngine
from cdc_daemon.search.engine_watch import watch_engine
from cdc_daemon.search.failure import EngineError, Failure, UnsupportedEngineError
from cdc_daemon.search.metrics import EngineMetrics
from cdc_daemon.telemetry.metrics import Metrics


class Changing:
    """An engine that answers each question by the next of these; it cancels the watch at the end."""

    def __init__(self, *answers: EngineError | Product) -> None:
        self.answers = list(answers)

    async def identify(self) -> Product:
        if not self.answers:
            raise asyncio.CancelledError
        answer = self.answers.pop(0)
        if isinstance(answer, EngineError):
            raise answer
        return answer


async def test_the_engine_is_asked_again_whatever_it_answers() -> None:
    engine = Changing(
        Product("Elasticsearch", "8.19.4"),
        EngineError(Failure(0, "connection_error", "refused")),
        UnsupportedEngineError("expected another, found OpenSearch 4.0.0"),
        Product("OpenSearch", "2.19.5"),
    )
    with capture_logs() as logs:
        watching = asyncio.create_task(watch_engine(cast("SearchEngine", engine), interval=0))
        await asyncio.wait({watching})
    assert engine.answers == []
    warnings = [entry for entry in logs if entry["log_level"] == "warning"]
    assert [entry["event"] for entry in warnings] == ["search.engine_unsupported"]


def test_the_metric_shows_one_engine_at_a_time() -> None:
    metrics = Metrics()
    shown = EngineMetrics(metrics)
    for product in (
        None,
        Product("Elasticsearch", "8.19.4"),
        Product("OpenSearch", "2.19.5"),
        Product("OpenSearch", ""),
    ):
        shown.show(product)
        shown.show(product)
        (family,) = metrics.search_engine.collect()
        found = [(sample.name, sample.labels, sample.value) for sample in family.samples]
        name, labels = "cdc_daemon_search_engine_info", product and {"engine": product.name, "version": product.version}
        assert found == ([(name, labels, 1.0)] if product else [])
