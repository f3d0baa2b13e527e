"""What may be said of rows that could not be judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from cdc_daemon.model.document_operation import Operation, Result
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Key, Signal, TableName
from cdc_daemon.tablejobs.comparison import Comparison, ComparisonResult
from cdc_daemon.tablejobs.confirmation import MismatchConfirmation
from cdc_daemon.tablejobs.findings import ComparisonVerdict, Mismatch, MismatchCounts, MismatchKind, verdict_of
from cdc_daemon.tablejobs.reconcile import OF_ROWS

KEY = Key(TableName("k", "user"), b"a", ())
MISSING = Mismatch(MismatchKind.MISSING, "a", KEY, expected=1)
SAME = ComparisonResult({KEY: MISSING}, [], [])
SHOWN = ComparisonResult({}, ["a"], [])
BROKEN = ComparisonResult({}, [], [KEY])


class World:
    """Looks that a test has prepared, and a tail that passes or not; signals are settled at once."""

    def __init__(self, *results: ComparisonResult, passes: bool = True) -> None:
        self.results = list(results)
        self.passes = passes
        self.counts = MismatchCounts("user")

    async def compare(self, keys: Sequence[Key]) -> ComparisonResult:
        assert list(keys) == [KEY]
        return self.results.pop(0)

    async def wait(self, keys: Sequence[Key]) -> bool:
        assert list(keys) == [KEY]
        return self.passes

    async def submit_background(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        assert {each.partition_key for each in signals} <= {b"a"}
        assert not receipt.done

    async def write(self, operations: Sequence[Operation]) -> list[Result]:
        raise AssertionError(operations)

    async def judge(self, *, repair: bool = False) -> dict[str, Any]:
        confirmation = MismatchConfirmation(
            cast("Comparison", self), self, self.counts, sink=self, writer=self, alias="user", repair=repair
        )
        await confirmation.confirm({KEY: MISSING}, OF_ROWS)
        found: dict[str, Any] = self.counts.take()["types"]["user"]
        return found


@pytest.mark.parametrize("repair", [False, True])
async def test_where_the_tail_never_passes_nothing_is_decided(repair: bool) -> None:
    found = await World(passes=False).judge(repair=repair)
    assert (found["missing"], found["unsettled"]) == (0, 1)
    assert verdict_of(found) is ComparisonVerdict.UNDECIDED


async def test_a_row_that_no_document_can_show_any_more_is_not_taken_for_equal() -> None:
    found = await World(BROKEN).judge()
    assert (found["missing"], found["unreadable"]) == (0, 1)
    assert verdict_of(found) is ComparisonVerdict.UNDECIDED


async def test_a_row_that_no_document_can_show_is_not_taken_for_repaired() -> None:
    found = await World(SAME, BROKEN).judge(repair=True)
    assert (found["missing"], found["repaired"]) == (1, 0)
    assert verdict_of(found) is ComparisonVerdict.DIFFERENT


@pytest.mark.parametrize(
    ("results", "repair", "verdict"),
    [
        ([SHOWN], False, ComparisonVerdict.EQUAL),
        ([SAME], False, ComparisonVerdict.DIFFERENT),
        ([SAME, SHOWN], True, ComparisonVerdict.REPAIRED),
        ([SAME, SAME], True, ComparisonVerdict.DIFFERENT),
    ],
)
async def test_what_was_judged_is_decided(
    results: list[ComparisonResult], repair: bool, verdict: ComparisonVerdict
) -> None:
    assert verdict_of(await World(*results).judge(repair=repair)) is verdict
