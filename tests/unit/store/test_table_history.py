from __future__ import annotations

from pathlib import Path

from cdc_daemon.model.signal import TableName
from cdc_daemon.store import Store
from cdc_daemon.store.table_history import TableState

TABLE, OTHER = TableName("k", "t"), TableName("k", "u")


def test_marks_outlive_the_process(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.table_states.get(TABLE) is None
    store.table_states.put(TABLE, TableState(b"1" * 16))
    store.table_states.put(OTHER, TableState(b"2" * 16, 5))
    store.table_states.put(TABLE, TableState(b"3" * 16, 7, dropped=True, cdc=False, altered=9))
    store.close()
    store = Store(tmp_path)
    assert store.table_states.get(TABLE) == TableState(b"3" * 16, 7, dropped=True, cdc=False, altered=9)
    assert store.table_states.get(OTHER) == TableState(b"2" * 16, 5)
    store.close()
