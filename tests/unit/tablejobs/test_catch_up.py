"""Which rows count as changed, and how far their progress is recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cdc_daemon.cassandra.dialect import KEYSPACES
from cdc_daemon.cassandra.read_plan import ReadPlan
from cdc_daemon.cassandra.ring import TokenRange
from cdc_daemon.cassandra.scan import KeyPage
from cdc_daemon.commitlog.schema import Column, TableMetadata
from cdc_daemon.config.poll import PollSettings
from cdc_daemon.model.cql_types import CqlType, parse_type
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Key, Signal, TableName
from cdc_daemon.store import Store
from cdc_daemon.store.range_jobs import ROWS, RangeJob
from cdc_daemon.tablejobs.catch_up import CatchUp, ChangeTimes
from cdc_daemon.tablejobs.range_job import JobRequest, JobRun

TABLE = TableName("k", "t")


def table(**regular: str) -> TableMetadata:
    return TableMetadata(
        b"t",
        "k",
        "t",
        partition_key=(Column("p", b"p", CqlType("text"), "partition_key"),),
        clustering=(),
        static=(),
        regular=tuple(Column(name, name.encode(), parse_type(of), "regular") for name, of in regular.items()),
    )


def times(metadata: TableMetadata, *polled: PollSettings, **more: Any) -> ChangeTimes:
    return ChangeTimes(lambda _name: ReadPlan(metadata, **more), polled)


def test_a_table_is_dated_by_its_write_times() -> None:
    assert times(table(v="text", w="int")).of(TABLE).others == ('WRITETIME("v")', 'WRITETIME("w")')


def test_a_polled_table_is_dated_as_declared_and_read_as_a_scan() -> None:
    polled = PollSettings(table=TABLE, strategy="index", column="v", unit="ms")
    assert times(table(v="bigint", w="int"), polled).of(TABLE).others == ('"v"', 'WRITETIME("v")', 'WRITETIME("w")')


@pytest.mark.parametrize(
    ("metadata", "more"), [(table(), {}), (table(v="set<text>"), {}), (table(v="text"), {"timed": False})]
)
def test_a_table_without_write_times_is_refused(metadata: TableMetadata, more: dict[str, Any]) -> None:
    dialect = {} if "timed" not in more else {"dialect": KEYSPACES}
    with pytest.raises(ConfigError):
        times(metadata, **more, **dialect).of(TABLE)


def test_collections_without_write_times_are_named() -> None:
    metadata = table(v="text", tags="set<text>", fixed="frozen<set<text>>")
    found = times(metadata).note(TABLE)
    assert found is not None
    assert "changes of only tags were not found" in found
    assert times(metadata, newest_of_collections=True).note(TABLE) is None
    assert times(table(v="text")).note(TABLE) is None
    assert times(metadata, PollSettings(table=TABLE, strategy="scan", column="v", unit="ms")).note(TABLE) is None


class _Scan:
    """Pages of keys with write times: `pages` lists for each the times, the token covered and the rows covered."""

    def __init__(self, pages: Sequence[tuple[Sequence[int | None], int, int]]) -> None:
        self._pages = pages

    async def keys(self, _table: TableName, _range: TokenRange, *, shown: Sequence[str]) -> AsyncIterator[KeyPage]:
        number = 0
        for moments, covered, rows in self._pages:
            keys = [Key(TABLE, str(number + at).encode(), ()) for at in range(len(moments))]
            number += len(keys)
            yield KeyPage(keys, [(moment,) * len(shown) for moment in moments], covered, rows)


class _Sink:
    def __init__(self) -> None:
        self.signals: list[Signal] = []

    async def submit_background(self, signals: Sequence[Signal], _receipt: Receipt) -> None:
        self.signals += signals

    async def submit_rows(self, *_: Any) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    ("pages", "changed", "recorded"),
    [
        ([([9, 1, None, 7], 100, 4)], ["0", "2", "3"], [3]),
        # The second page ends inside a partition that began in the first one.
        ([([9, 1], 10, 1), ([1, 9], 10, 1), ([9, 9], 100, 6)], ["0", "3", "4", "5"], [1, 1, 4]),
        ([([9, 9], 0, 0), ([9, 1], 50, 3), ([], 100, 4)], ["0", "1", "2"], [0, 3, 3]),
        ([([], 100, 0)], [], [0]),
    ],
)
async def test_changed_rows_are_handed_over_and_counted_as_far_as_they_are_covered(
    tmp_path: Path, pages: Any, changed: list[str], recorded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    request = JobRequest(kind="catch_up", types=("t",), since=5)
    job = RangeJob(id="1", kind="catch_up", options=request.options())
    store.range_jobs.add(job, [("t", 0, 100, ROWS)], limit=1)
    run = JobRun(
        job, JobRequest.of("catch_up", "operator", job.options), store.range_jobs, store.range_jobs.progress("1")
    )
    (part,) = store.range_jobs.open_ranges("1")
    run.begin([part])
    sink, seen = _Sink(), list[int]()
    scan: Any = partial(lambda found, _run: found, _Scan(pages))
    work = CatchUp(sink=sink, scan=scan, times=times(table(v="text")), tables={"t": TABLE}, aliases={"t": "t"})
    opened = work._hand_over

    async def watch(run: JobRun, part: Any, name: TableName, line: Any) -> None:
        usual = line.open

        async def note(progress: Any) -> Receipt:
            seen.append(progress.rows)
            receipt: Receipt = await usual(progress)
            return receipt

        monkeypatch.setattr(line, "open", note)
        await opened(run, part, name, line)

    monkeypatch.setattr(work, "_hand_over", watch)
    await work.work(run, part)
    assert [signal.partition_key.decode() for signal in sink.signals] == changed
    assert seen == recorded
    assert store.range_jobs.rows_by_type("1") == {"t": recorded[-1]}
    store.close()
