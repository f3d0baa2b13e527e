"""The start logs at once what it waits for, and not at every attempt."""

from __future__ import annotations

import asyncio
import io
import json
from typing import cast

import pytest
from structlog.testing import capture_logs

from cdc_daemon.app.startup import find_engine, persist
from cdc_daemon.config import ElasticsearchSettings, LogSettings
from cdc_daemon.model.errors import CassandraUnavailableError, ConfigError
from cdc_daemon.search import SearchEngine
from cdc_daemon.search.engine import Product
from cdc_daemon.search.failure import EngineError, Failure, UnsupportedEngineError
from cdc_daemon.telemetry import logs


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    async def pass_by(_seconds: float) -> None:
        pass

    monkeypatch.setattr(asyncio, "sleep", pass_by)


async def test_the_same_is_told_once_and_another_at_once() -> None:
    stream = io.StringIO()
    logs.configure(LogSettings(format="json"), stream=stream)
    failures = [
        *(CassandraUnavailableError("no host answers", hint="start it") for _ in range(5)),
        CassandraUnavailableError("it is starting", hint="wait", table="shop.user"),
    ]
    waited: list[str | None] = []

    async def attempt() -> str:
        if failures:
            raise failures.pop(0)
        return "there"

    found = await persist("cassandra", attempt, report_wait=lambda _what, error: waited.append(error))
    assert found == "there"
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(event["event"], event["error"], event["hint"]) for event in events] == [
        ("startup.waiting", "no host answers", "start it"),
        ("startup.waiting", "it is starting", "wait"),
    ]
    assert waited == ["no host answers (start it)"] * 5 + ["table shop.user: it is starting (wait)", None]


class Answers:
    """A search engine of which only the answer to the question what it is matters."""

    def __init__(self, *answers: Product | EngineError) -> None:
        self.answers = list(answers)

    async def identify(self) -> Product:
        answer = self.answers.pop(0)
        if isinstance(answer, EngineError):
            raise answer
        return answer


OPTIONS = ElasticsearchSettings(hosts=("http://engine:9200",))


async def test_the_start_waits_for_the_engine_and_says_which_it_is() -> None:
    engine = Answers(EngineError(Failure(0, "connection_error", "refused")), Product("OpenSearch", "2.19.5"))
    waited: list[str | None] = []
    with capture_logs() as entries:
        product = await find_engine(
            cast("SearchEngine", engine), OPTIONS, report_wait=lambda _what, error: waited.append(error)
        )
    assert product == Product("OpenSearch", "2.19.5")
    assert [error is None for error in waited] == [False, True]
    connected = entries[-1]
    assert (connected["event"], connected["engine"], connected["version"]) == (
        "elasticsearch.connected",
        "OpenSearch",
        "2.19.5",
    )


async def test_an_engine_that_is_not_supported_ends_the_start() -> None:
    engine = Answers(UnsupportedEngineError("expected one of those, found Elasticsearch 6.8.23"))
    with pytest.raises(ConfigError) as caught:
        await find_engine(cast("SearchEngine", engine), OPTIONS)
    assert "found Elasticsearch 6.8.23" in caught.value.message
    assert "http://engine:9200" in str(caught.value)
    assert caught.value.hint


def odd() -> UnsupportedEngineError:
    return UnsupportedEngineError("expected one of those, found something that is no search engine", certain=False)


async def test_an_odd_answer_of_a_proxy_is_waited_out() -> None:
    away = EngineError(Failure(0, "connection_error", "refused"))
    engine = Answers(*(odd() for _ in range(6)), away, odd(), Product("OpenSearch", "2.19.5"))
    assert await find_engine(cast("SearchEngine", engine), OPTIONS) == Product("OpenSearch", "2.19.5")


async def test_what_is_no_search_engine_ends_the_start() -> None:
    engine = Answers(*(odd() for _ in range(20)))
    with pytest.raises(ConfigError, match="found something that is no search engine"):
        await find_engine(cast("SearchEngine", engine), OPTIONS)
    assert len(engine.answers) == 13
