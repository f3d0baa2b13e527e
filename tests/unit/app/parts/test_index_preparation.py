"""Preparation of the indices at the start: one that needs an operator delays no other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cdc_daemon.app.parts.index_preparation import Preparation
from cdc_daemon.document.mapping import DocumentMapping
from cdc_daemon.model.errors import ElasticsearchRefusedError, ElasticsearchUnavailableError, IndexRefusedError
from cdc_daemon.model.signal import TableName
from cdc_daemon.search import ElasticsearchOptions, make_engine
from cdc_daemon.search.indices import Completion, EnsuredIndex, IndexDefinition
from cdc_daemon.search.missing import MissingIndices
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
        self.defined: list[IndexDefinition] = []
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
        self.defined.append(definition)
        self.there.add(definition.alias)
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


class Clock:
    """A clock that only the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


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


async def test_a_deleted_index_is_created_again_when_no_older_body_can_be_on_its_way(
    preparation: Preparation, indices: Indices, copies: FirstCopies, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(preparation, "_missing", MissingIndices(clock))
    indices.gc_deletes = {"user_alias": 40, "device": 60}
    await preparation.at_start()
    copies.put("user", FirstCopy("done", "earlier"))

    async def wait_in_vain() -> None:
        indices.there, indices.ensured = {"device"}, []
        for _ in range(2):
            with pytest.raises(ElasticsearchRefusedError, match="no such alias") as raised:
                await preparation.again("user_alias")
            assert "20 s" in str(raised.value.hint)
            clock.now += 10
        assert not indices.ensured

    await wait_in_vain()
    indices.there.add("user_alias")  # an operator has restored it
    await preparation.again("user_alias")
    assert not indices.ensured
    assert copies.all["user"] == FirstCopy("done", "earlier")
    await wait_in_vain()
    await preparation.again("user_alias")
    assert indices.ensured == ["user_alias"]
    assert copies.all["user"] == FirstCopy("waiting", "earlier")


async def test_a_deleted_index_that_cannot_be_created_or_that_another_daemon_made_is_not_copied(
    preparation: Preparation, indices: Indices, copies: FirstCopies, monkeypatch: pytest.MonkeyPatch
) -> None:
    await preparation.at_start()
    copies.put("user", FirstCopy("done", "earlier"))
    copies.forget("device")
    clock = Clock()
    monkeypatch.setattr(preparation, "_missing", MissingIndices(clock))
    preparation._missing.check("user_alias", pause=0)
    clock.now += 60
    indices.there = {"device"}
    indices.failures["user_alias"] = [REFUSED]
    with pytest.raises(ElasticsearchRefusedError, match="does not lead to it"):
        await preparation.again("user_alias")
    assert copies.all == {"user": FirstCopy("done", "earlier")}
    indices.created = False
    await preparation.again("user_alias")
    assert copies.all == {"user": FirstCopy("done", "earlier")}


async def test_an_index_that_was_created_although_an_error_followed_is_copied(
    preparation: Preparation, indices: Indices, copies: FirstCopies, monkeypatch: pytest.MonkeyPatch
) -> None:
    await preparation.at_start()
    copies.put("user", FirstCopy("done", "earlier"))
    clock = Clock()
    monkeypatch.setattr(preparation, "_missing", MissingIndices(clock))
    preparation._missing.check("user_alias", pause=0)
    clock.now += 60
    indices.there = {"device"}

    async def fail_after_creation(definition: IndexDefinition) -> EnsuredIndex:
        indices.there.add(definition.alias)
        raise ElasticsearchUnavailableError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(indices, "ensure", fail_after_creation)
        with pytest.raises(ElasticsearchUnavailableError, match="no answer"):
            await preparation.again("user_alias")
    await preparation.again("user_alias")
    assert copies.all["user"] == FirstCopy("waiting", "earlier")


async def test_a_copy_that_waits_survives_a_restart_whatever_the_snapshot(
    preparation: Preparation, copies: FirstCopies
) -> None:
    declared = SETTINGS["user"].model_copy(update={"snapshot": "never"})
    prepared = replace(preparation._prepared["user_alias"], declared=declared)
    copies.put("user", FirstCopy("waiting", "earlier"))
    await preparation._ensure(prepared)
    assert copies.all["user"].state == "waiting"
    copies.forget("user")
    await preparation._ensure(prepared)
    assert "user" not in copies.all


async def test_a_deleted_index_is_waited_for_where_that_is_configured(
    preparation: Preparation, indices: Indices
) -> None:
    await preparation.at_start()
    prepared = preparation._prepared["user_alias"]
    declared = prepared.declared.model_copy(update={"on_index_missing": "wait"})
    preparation._prepared["user_alias"] = replace(prepared, declared=declared)
    indices.there, indices.ensured = {"device"}, []
    indices.failures["user_alias"] = [REFUSED]
    with pytest.raises(ElasticsearchRefusedError):
        await preparation.again("user_alias")
    assert not indices.ensured


async def test_a_deleted_index_is_created_again_with_columns_that_were_added_meanwhile(
    preparation: Preparation, indices: Indices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "_missing", MissingIndices(clock := Clock()))
    await preparation.at_start()
    narrower = SETTINGS["user"].model_copy(update={"exclude": ("v",)})
    preparation.follow([DocumentMapping("user", narrower, TABLES["user"])])
    indices.there = {"device"}
    with pytest.raises(ElasticsearchRefusedError):
        await preparation.again("user_alias")
    clock.now += 60
    await preparation.again("user_alias")
    before, after = [each for each in indices.defined if each.alias == "user_alias"]
    assert before.mappings["properties"].keys() - after.mappings["properties"].keys() == {"v"}
