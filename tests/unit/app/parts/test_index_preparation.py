"""Preparation of the indices at the start: one that needs an operator delays no other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from cdc_daemon.app.parts.index_preparation import Preparation
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.errors import ElasticsearchRefusedError, ElasticsearchUnavailableError, IndexRefusedError
from cdc_daemon.model.signal import TableName
from cdc_daemon.search import ElasticsearchOptions, make_engine
from cdc_daemon.search.indices import Completion, EnsuredIndex, IndexDefinition
from cdc_daemon.store import Store
from cdc_daemon.store.first_copies import FirstCopies, FirstCopy
from tests.unit.http.fake import SETTINGS, TABLES

REFUSED = ElasticsearchRefusedError("the index exists, but the alias does not lead to it", alias="user_alias")


class Indices:
    """What an index manager finds; `failures` are raised by the aliases' next looks."""

    def __init__(self) -> None:
        self.failures: dict[str, list[Exception]] = {}
        self.gc_deletes: dict[str, float] = {}
        self.ensured: list[str] = []
        self.completed: list[str] = []
        self.there: set[str] = set()
        self.created = True

    def _fail(self, alias: str) -> None:
        if self.failures.get(alias):
            raise self.failures[alias].pop(0)

    async def exists(self, alias: str) -> bool:
        return alias in self.there

    async def ensure(self, definition: IndexDefinition) -> EnsuredIndex:
        self._fail(definition.alias)
        self.ensured.append(definition.alias)
        remembered = self.gc_deletes.get(definition.alias, 60.0)
        return EnsuredIndex(definition.index, created=self.created, added=(), gc_deletes=remembered)

    async def complete_own(self, definition: IndexDefinition) -> None:
        self._fail(definition.alias)
        self.completed.append(definition.alias)

    async def complete(self, alias: str, properties: Any, *, add: bool) -> Completion:
        assert add
        assert alias
        assert properties
        return Completion(f"{alias}-000001")


@pytest.fixture
def indices(monkeypatch: pytest.MonkeyPatch) -> Indices:
    indices = Indices()
    monkeypatch.setattr("cdc_daemon.app.parts.index_preparation.IndexManager", lambda _client: indices)
    monkeypatch.setattr("cdc_daemon.model.backoff.Backoff.next", lambda _self: 0.001)
    return indices


@pytest.fixture
def copies(tmp_path: Path) -> Iterator[FirstCopies]:
    store = Store(tmp_path)
    yield store.first_copies
    store.close()


@pytest.fixture
async def preparation(indices: Indices, copies: FirstCopies) -> AsyncIterator[Preparation]:
    assert not indices.ensured
    mappings: dict[TableName, list[DocumentMapping]] = {}
    for name in ("user", "device"):
        mappings[SETTINGS[name].table] = [DocumentMapping(name, SETTINGS[name], TABLES[name])]
    engine = make_engine(ElasticsearchOptions(("http://127.0.0.1:9",)))  # the manager of the indices is replaced
    yield Preparation(engine, SETTINGS, mappings, copies=copies)
    await engine.close()


async def test_one_that_is_refused_waits_and_is_made_ready_later(preparation: Preparation, indices: Indices) -> None:
    indices.failures["user_alias"] = [REFUSED, REFUSED]
    indices.gc_deletes["user_alias"] = 20
    shorter: list[float] = []
    preparation.on_shorter = shorter.append
    await preparation.at_start()
    assert preparation.unready == {"user_alias": REFUSED}
    assert indices.ensured == ["device"]
    assert preparation.remembered == 60
    with pytest.raises(ElasticsearchRefusedError):
        await preparation.again("user_alias")
    await preparation.again("user_alias")
    assert preparation.unready == {}
    assert indices.ensured == ["device", "user_alias"]
    assert shorter == [20]


async def test_an_index_that_was_there_is_completed_and_not_made_anew(
    preparation: Preparation, indices: Indices
) -> None:
    await preparation.at_start()
    indices.ensured.clear()
    await preparation.again("device")
    await preparation.again("device-000001-direct")
    assert (indices.ensured, indices.completed) == ([], ["device"])


async def test_it_waits_for_elasticsearch_and_where_no_index_is_ready(
    preparation: Preparation, indices: Indices
) -> None:
    away = ElasticsearchUnavailableError("no answer")
    indices.failures = {"user_alias": [REFUSED, REFUSED, REFUSED], "device": [away, REFUSED]}
    told: list[str | None] = []
    await preparation.at_start(report_wait=lambda _what, error: told.append(error))
    assert len(told) == 3
    assert "no answer" in str(told[0])
    assert "does not lead to it" in str(told[1])
    assert told[2] is None
    assert list(preparation.unready) == ["user_alias"]


async def test_a_declaration_that_is_wrong_is_no_trouble_that_passes(
    preparation: Preparation, indices: Indices
) -> None:
    indices.failures["device"] = [IndexRefusedError("unknown analyzer", alias="device")]
    with pytest.raises(IndexRefusedError, match="unknown analyzer") as raised:
        await preparation.at_start()
    assert raised.value.where["mapping"] == "device"


async def test_a_first_copy_is_wanted_for_each_index_that_is_created(
    preparation: Preparation, indices: Indices, copies: FirstCopies
) -> None:
    indices.there = {"device"}
    await preparation.at_start()
    assert copies.all == {"user": FirstCopy("waiting")}


async def test_a_first_copy_is_wanted_though_the_process_died_right_after_the_creation(
    preparation: Preparation, indices: Indices, copies: FirstCopies
) -> None:
    indices.failures["user_alias"] = [ElasticsearchUnavailableError("no answer")]
    indices.there = {"device"}
    with pytest.raises(ElasticsearchUnavailableError):
        await preparation._make_ready("user_alias")
    assert copies.all == {"user": FirstCopy("waiting")}
    indices.there, indices.created = {"device", "user_alias"}, False
    await preparation._ensure(preparation._prepared["user_alias"])
    assert copies.all == {"user": FirstCopy("waiting")}


async def test_no_first_copy_is_wanted_for_an_index_that_another_daemon_created(
    preparation: Preparation, indices: Indices, copies: FirstCopies
) -> None:
    indices.created = False
    await preparation._ensure(preparation._prepared["user_alias"])
    assert copies.all == {}
