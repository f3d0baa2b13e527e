"""What may be said of rows that could not be judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from cdc_daemon.model.document_operation import Operation, Result
from cdc_daemon.model.key import Key
from cdc_daemon.model.receipt import Receipt
from cdc_daemon.model.signal import Signal, TableName
from cdc_daemon.tablejobs.comparison import Comparison, Look
from cdc_daemon.tablejobs.difference import Account, Difference, Kind, Verdict, verdict_of
from cdc_daemon.tablejobs.reconcile import OF_ROWS
from cdc_daemon.tablejobs.settling import Settling

KEY = Key(TableName("k", "user"), b"a", ())
MISSING = Difference(Kind.MISSING, "a", KEY, expected=1)
SAME = Look({KEY: MISSING}, [], [])
SHOWN = Look({}, ["a"], [])
BROKEN = Look({}, [], [KEY])


class World:
    """Looks that a test has prepared, and a tail that passes or not; signals are settled at once."""

    def __init__(self, *looks: Look, passes: bool = True) -> None:
        self.looks = list(looks)
        self.passes = passes
        self.account = Account("user")

    async def look(self, keys: Sequence[Key]) -> Look:
        assert list(keys) == [KEY]
        return self.looks.pop(0)

    async def wait(self, keys: Sequence[Key]) -> bool:
        assert list(keys) == [KEY]
        return self.passes

    async def submit_background(self, signals: Sequence[Signal], receipt: Receipt) -> None:
        assert {each.partition_key for each in signals} <= {b"a"}
        assert not receipt.done

    async def write(self, operations: Sequence[Operation]) -> list[Result]:
        raise AssertionError(operations)

    async def judge(self, *, repair: bool = False) -> dict[str, Any]:
        settling = Settling(
            cast("Comparison", self), self, self.account, sink=self, writer=self, alias="user", repair=repair
        )
        await settling.judge({KEY: MISSING}, OF_ROWS)
        found: dict[str, Any] = self.account.take()["types"]["user"]
        return found


@pytest.mark.parametrize("repair", [False, True])
async def test_where_the_tail_never_passes_nothing_is_decided(repair: bool) -> None:
    found = await World(passes=False).judge(repair=repair)
    assert (found["missing"], found["unsettled"]) == (0, 1)
    assert verdict_of(found) is Verdict.UNDECIDED


async def test_a_row_that_no_document_can_show_any_more_is_not_taken_for_equal() -> None:
    found = await World(BROKEN).judge()
    assert (found["missing"], found["unreadable"]) == (0, 1)
    assert verdict_of(found) is Verdict.UNDECIDED


async def test_a_row_that_no_document_can_show_is_not_taken_for_repaired() -> None:
    found = await World(SAME, BROKEN).judge(repair=True)
    assert (found["missing"], found["repaired"]) == (1, 0)
    assert verdict_of(found) is Verdict.DIFFERENT


@pytest.mark.parametrize(
    ("looks", "repair", "verdict"),
    [
        ([SHOWN], False, Verdict.EQUAL),
        ([SAME], False, Verdict.DIFFERENT),
        ([SAME, SHOWN], True, Verdict.REPAIRED),
        ([SAME, SAME], True, Verdict.DIFFERENT),
    ],
)
async def test_what_was_judged_is_decided(looks: list[Look], repair: bool, verdict: Verdict) -> None:
    assert verdict_of(await World(*looks).judge(repair=repair)) is verdict
