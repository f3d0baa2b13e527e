"""Retries of due dead letters, while the servers answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from cdc_daemon.sources.dead_letters.replay import ReplayedLetter, ReplayOutcome
from cdc_daemon.sources.dead_letters.retries import AT_ONCE, DeadLetterRetries
from cdc_daemon.store.dead_letters import DeadLetter


class Letters:
    """Due letters, and the outcomes of their replay."""

    def __init__(self, count: int, outcome: ReplayOutcome) -> None:
        self.kept = list(range(1, count + 1))
        self.tried: list[int] = []
        self.asked: set[tuple[int, int, int]] = set()
        self.outcome = outcome
        self.failed: list[int] = []
        self.service: str | None = None

    def due(self, now: int, *, pause: int, longest: int, limit: int) -> Sequence[DeadLetter]:
        self.asked.add((now, pause, longest))
        due = [identity for identity in self.kept if identity not in self.tried][:limit]
        return [DeadLetter(kind="document", reason="clash", detail={}, id=identity) for identity in due]

    async def replay_letters(self, letters: Sequence[DeadLetter]) -> Sequence[ReplayedLetter]:
        identities = [letter.id or 0 for letter in letters]
        if self.outcome is not ReplayOutcome.WAITING:
            self.tried += identities
        if self.outcome is ReplayOutcome.REPLAYED:
            self.kept = [each for each in self.kept if each not in identities]
        return [ReplayedLetter(identity, self.outcome, self.service) for identity in identities]

    def failed_again(self, letter: DeadLetter, reason: str, detail: Mapping[str, Any]) -> None:
        assert (reason, detail) == (letter.reason, letter.detail)
        self.failed.append(letter.id or 0)
        self.tried.append(letter.id or 0)


def retries(letters: Letters, *, ready: bool = True, pause: float = 60.0) -> DeadLetterRetries:
    return DeadLetterRetries(letters, letters, pause=pause, ready=lambda: ready, now=lambda: 5.0)


async def test_all_that_are_due_are_replayed() -> None:
    letters = Letters(2 * AT_ONCE + 1, ReplayOutcome.REPLAYED)
    await retries(letters).turn()
    assert letters.kept == []
    assert letters.asked == {(5_000_000, 60_000_000, 86_400_000_000)}


async def test_those_that_fail_are_left() -> None:
    letters = Letters(AT_ONCE + 1, ReplayOutcome.FAILED)
    await retries(letters, pause=100_000.0).turn()
    assert len(letters.kept) == len(letters.tried) == AT_ONCE + 1
    assert letters.asked == {(5_000_000, 100_000_000_000, 100_000_000_000)}


@pytest.mark.parametrize("service", ["cassandra", "elasticsearch"])
async def test_the_turn_ends_where_something_is_in_the_way(service: str) -> None:
    letters = Letters(3, ReplayOutcome.WAITING)
    letters.service = service
    looks = iter([True, service == "cassandra"])
    await DeadLetterRetries(letters, letters, pause=60.0, ready=lambda: next(looks)).turn()
    assert (letters.kept, letters.tried, letters.failed) == ([1, 2, 3], [], [])


async def test_those_that_come_to_no_end_keep_no_other_from_its_turn() -> None:
    letters = Letters(AT_ONCE + 1, ReplayOutcome.WAITING)
    letters.service = "elasticsearch"
    await retries(letters).turn()
    assert letters.failed == list(range(1, AT_ONCE + 1))
    await retries(letters).turn()
    assert letters.failed == letters.kept


async def test_nothing_is_tried_while_that_makes_no_sense() -> None:
    letters = Letters(3, ReplayOutcome.REPLAYED)
    await retries(letters, ready=False).turn()
    assert letters.asked == set()
