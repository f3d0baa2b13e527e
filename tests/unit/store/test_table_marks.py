from __future__ import annotations

from pathlib import Path

from cdc_daemon.model.signal import TableName
from cdc_daemon.store import Store
from cdc_daemon.store.table_marks import TableMark

TABLE, OTHER = TableName("k", "t"), TableName("k", "u")


def test_marks_outlive_the_process(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.table_marks.get(TABLE) is None
    store.table_marks.put(TABLE, TableMark(b"1" * 16))
    store.table_marks.put(OTHER, TableMark(b"2" * 16, 5))
    store.table_marks.put(TABLE, TableMark(b"3" * 16, 7, dropped=True, cdc=False, altered=9))
    store.close()
    store = Store(tmp_path)
    assert store.table_marks.get(TABLE) == TableMark(b"3" * 16, 7, dropped=True, cdc=False, altered=9)
    assert store.table_marks.get(OTHER) == TableMark(b"2" * 16, 5)
    store.close()
