"""The daemons that share work, and which of them does each piece of it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

import structlog

log = structlog.get_logger(__name__)

INTERVAL = 5.0
"""Seconds between two questions to the others."""

GONE_SECONDS = 20.0
"""Seconds without an answer after which the others take over a daemon's work: three answers are missing."""

Ask = Callable[[], Awaitable[Iterable[Any]]]
"""Asks the other daemons what they do, and returns their answers. It does not raise."""


class _Member(NamedTuple):
    seen: float
    topics: frozenset[str]


class Members:
    """Divides work among the daemons that answer, without coordination.

    Each piece of work belongs to the daemon with the highest hash of its id and the piece (rendezvous hashing). So
    daemons that see the same others agree, and only the pieces of a daemon that is gone, or that comes, change hands.
    For a few seconds two daemons may do the same piece, or none: both must be harmless, and what a piece has reached is
    part of the answers (`on_answer`).

    `topics` returns the work that this daemon takes part in at present.
    """

    def __init__(
        self,
        own: str,
        ask: Ask,
        *,
        topics: Callable[[], Collection[str]],
        on_answer: Callable[[Mapping[str, Any]], None] = lambda _answer: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.own = own
        self._ask = ask
        self._topics = topics
        self._on_answer = on_answer
        self._now = now
        self._others: dict[str, _Member] = {}
        self._asked = asyncio.Event()

    async def ready(self) -> None:
        """Wait until the others were asked for the first time."""
        await self._asked.wait()

    @property
    def known(self) -> bool:
        """Whether the others were asked."""
        return self._asked.is_set()

    @property
    def others(self) -> Collection[str]:
        """The ids of the other daemons."""
        return sorted(self._others)

    async def refresh(self) -> None:
        """Ask the others, and forget those that have not answered for `GONE_SECONDS`."""
        answers = await self._ask()
        now = self._now()
        for answer in answers:
            if isinstance(answer, Mapping) and isinstance(name := answer.get("id"), str) and name != self.own:
                if name not in self._others:
                    log.info("share.member_joined", member=name)
                topics = answer.get("topics")
                several = frozenset(map(str, topics)) if isinstance(topics, list) else frozenset[str]()
                self._others[name] = _Member(now, several)
                self._on_answer(answer)
        for name in [name for name, member in self._others.items() if member.seen < now - GONE_SECONDS]:
            del self._others[name]
            log.warning("share.member_gone", member=name, hint="its work is divided among the others")
        self._asked.set()

    def is_mine(self, topic: str, piece: str = "") -> bool:
        """Return whether a piece of a topic is this daemon's. A lone daemon does everything."""
        if topic not in self._topics():
            return False
        own = _weight(self.own, topic, piece)
        return all(own > _weight(name, topic, piece) for name, each in self._others.items() if topic in each.topics)


def _weight(name: str, topic: str, piece: str) -> bytes:
    return hashlib.blake2b(f"{name}\0{topic}\0{piece}".encode(), digest_size=16).digest()
