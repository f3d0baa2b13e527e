from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from cdc_daemon.peers.members import GONE_SECONDS, Members

PIECES = [str(number) for number in range(64)]


class Network:
    """Daemons that answer each other, until a test says that one does not."""

    def __init__(self, *names: str) -> None:
        self.now = 0.0
        self.down: set[str] = set()
        self.topics: dict[str, list[str]] = {name: ["poll t"] for name in names}
        self.learned: list[Mapping[str, Any]] = []
        self.members = {name: self.make(name) for name in names}

    def make(self, name: str) -> Members:
        async def ask() -> Iterable[Any]:
            return [{"id": each, "topics": topics} for each, topics in self.topics.items() if each not in self.down]

        return Members(name, ask, topics=lambda: self.topics[name], on_answer=self.learned.append, now=lambda: self.now)

    async def refresh(self, *, after: float = 0.0) -> None:
        self.now += after
        for name, each in self.members.items():
            if name not in self.down:
                await each.refresh()

    def owners(self, piece: str) -> list[str]:
        up = {name: each for name, each in self.members.items() if name not in self.down}
        return [name for name, each in up.items() if each.is_mine("poll t", piece)]


@pytest.fixture
def network() -> Network:
    return Network("a", "b", "c")


async def test_each_piece_is_one_daemons_and_each_daemon_has_some(network: Network) -> None:
    await network.refresh()
    owned = [network.owners(piece) for piece in PIECES]
    assert {len(each) for each in owned} == {1}
    assert {each[0] for each in owned} == {"a", "b", "c"}


async def test_a_lone_daemon_does_everything() -> None:
    network = Network("a")
    assert not network.members["a"].known
    await network.refresh()
    assert all(network.owners(piece) == ["a"] for piece in PIECES)


async def test_only_the_pieces_of_a_daemon_that_is_gone_change_hands(network: Network) -> None:
    await network.refresh()
    before = {piece: network.owners(piece) for piece in PIECES}
    network.down.add("b")
    await network.refresh(after=GONE_SECONDS / 2)
    assert next(network.owners(piece) for piece in PIECES if before[piece] == ["b"]) == []
    await network.refresh(after=GONE_SECONDS)
    after = {piece: network.owners(piece) for piece in PIECES}
    assert all(len(each) == 1 for each in after.values())
    assert all(after[piece] == before[piece] for piece in PIECES if before[piece] != ["b"])
    network.down.clear()
    await network.refresh()
    assert {piece: network.owners(piece) for piece in PIECES} == before


async def test_a_daemon_that_takes_no_part_at_present_owns_nothing(network: Network) -> None:
    network.topics["c"] = []
    await network.refresh()
    assert {owner for piece in PIECES for owner in network.owners(piece)} == {"a", "b"}


async def test_whatever_an_answer_is_it_does_no_harm() -> None:
    answers: list[Any] = [None, 7, "x", [], {}, {"id": 3}, {"id": "b"}, {"id": "c", "topics": "poll t"}]

    async def ask() -> Iterable[Any]:
        return answers

    members = Members("a", ask, topics=lambda: ["poll t"])
    await members.refresh()
    assert members.others == ["b", "c"]
    assert all(members.is_mine("poll t", piece) for piece in PIECES)
