"""Suspects are kept through kill -9, each once, and no more of them than there is room for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc_daemon.model.signal import Key, TableName
from cdc_daemon.store import Store
from cdc_daemon.store.suspects import BrokenOff, Suspect

TABLE, OTHER = TableName("k", "t"), TableName("k", "other")
PAUSES = {"first": 10, "last": 100}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.close()


def suspect(document: str, version: int = 5, since: int = 1000, *, table: TableName = TABLE) -> Suspect:
    return Suspect(Key(table, document.encode(), (b"c", None)), "users", document, None, version, since)


def kept(store: Store) -> list[Suspect]:
    return [row.suspect for row in store.suspects.due(1 << 60, 1000)]


def test_a_suspect_is_due_a_while_after_its_request_was_lost(store: Store) -> None:
    store.suspects.add([suspect("a"), suspect("b")._replace(routing="r")], now=1000, **PAUSES)
    assert store.suspects.due(1009, 10) == []
    assert [row.suspect for row in store.suspects.due(1010, 10)] == [suspect("a"), suspect("b")._replace(routing="r")]
    assert len(store.suspects.due(1010, 1)) == 1
    assert store.suspects.count == 2


def test_the_first_look_is_not_later_than_the_last(store: Store) -> None:
    store.suspects.add([suspect("a")], now=1095, **PAUSES)
    assert len(store.suspects.due(1100, 10)) == 1


def test_a_further_lost_request_keeps_the_highest_version_and_the_earliest_look(store: Store) -> None:
    store.suspects.add([suspect("a", 7)], now=1000, **PAUSES)
    (before,) = store.suspects.due(1010, 10)
    store.suspects.add([suspect("a", 5, 1050)], now=1050, **PAUSES)
    assert kept(store) == [suspect("a", 7, 1050)]
    assert len(store.suspects.due(1010, 10)) == 1
    store.suspects.schedule([(before, None)])
    assert store.suspects.count == 1, "a look of before the second request does not settle it"
    (after,) = store.suspects.due(1010, 10)
    store.suspects.schedule([(after, 1200)])
    assert store.suspects.due(1199, 10) == []
    store.suspects.schedule([(after, None)])
    assert store.suspects.count == 0


def test_beyond_the_limit_a_whole_table_is_suspect(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdc_daemon.store.suspects.MOST", 3)
    store.suspects.add([suspect(str(number)) for number in range(10)], now=1000, **PAUSES)
    store.suspects.add([suspect("1", 9), suspect("x", table=OTHER)], now=1000, **PAUSES)
    documents = [each for each in kept(store) if not each.is_table]
    tables = [each for each in kept(store) if each.is_table]
    assert [(each.document, each.version) for each in documents] == [("0", 5), ("1", 9), ("2", 5)]
    assert [each.key.table for each in tables] == [TABLE, OTHER]
    assert len(store.suspects.due(1099, 10)) == 3, "a table is looked at once, at the end"
    assert store.suspects.count == 5


def test_the_suspects_of_a_table_are_forgotten_with_it(store: Store) -> None:
    store.suspects.add([suspect("a"), suspect("b", table=OTHER)], now=1000, **PAUSES)
    store.suspects.forget(TABLE)
    assert kept(store) == [suspect("b", table=OTHER)]
    assert store.suspects.count == 1


def test_a_stop_in_the_middle_of_requests_is_known_after_it(store: Store) -> None:
    assert store.suspects.begin(100, 50) == BrokenOff(0, 0)
    store.suspects.end()
    assert store.suspects.begin(200, 150) == BrokenOff(0, 0)
    assert store.suspects.begin(300, 250) == BrokenOff(300, 250)
    store.suspects.end()
    assert store.suspects.begin(400, 350) == BrokenOff(300, 250), "a clean stop does not end what the other one began"


_KILLED = """
import os, signal, sys
from pathlib import Path
from cdc_daemon.store import Store
from tests.unit.store.test_suspects import PAUSES, suspect

store = Store(Path(sys.argv[1]))
store.suspects.begin(100, 50)
store.suspects.add([suspect("a"), suspect("b")], now=1000, **PAUSES)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_suspects_outlive_kill_9(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    ended = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], cwd=root, env=os.environ, check=False)
    assert ended.returncode == -signal.SIGKILL
    store = Store(tmp_path)
    assert kept(store) == [suspect("a"), suspect("b")]
    assert store.suspects.count == 2
    assert store.suspects.begin(200, 150) == BrokenOff(200, 150)
    store.close()
