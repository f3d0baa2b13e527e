"""The part that divides polling and passes over whole tables among the daemons that do the same."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

from cdc_daemon.app.part import Context, Part
from cdc_daemon.app.parts.peers import PeersPart
from cdc_daemon.app.parts.pipeline import PipelinePart
from cdc_daemon.model.errors import PeerError
from cdc_daemon.peers.members import INTERVAL, Ask, Members
from cdc_daemon.sources.poll.division import PollDivision, topic_of
from cdc_daemon.tablejobs.deletes import SharedPasses

QUESTION = "share"

_AUDIT = "audit"


class SharePart(Part):
    """Knows which daemons poll the same tables, and which part of each is this daemon's.

    `division` divides polled tables, and `passes` the delete passes. Both are None if this daemon asks no others.
    """

    name = "share"

    def __init__(self, context: Context, pipeline: PipelinePart, ask: Ask | None) -> None:
        self._gate = pipeline.gate
        polls = context.settings.poll
        self._work = (
            *(topic_of(str(polled.table)) for polled in polls),
            *(SharedPasses.topic(polled.table) for polled in polls if polled.deletes is not None),
            _AUDIT,
        )
        self.members: Members | None = None
        self.division: PollDivision | None = None
        self.passes: SharedPasses | None = None
        if ask is None:
            return
        self.members = Members(secrets.token_hex(8), ask, topics=self._topics, on_answer=self._learn)
        self.division = PollDivision(self.members, context.store.watermarks)
        self.passes = SharedPasses(self.members)
        context.questions.register_json(QUESTION, self._report)
        context.schedule.every(INTERVAL, "share", self.members.refresh, rests=True)

    @classmethod
    @asynccontextmanager
    async def open(cls, context: Context, peers: PeersPart, pipeline: PipelinePart) -> AsyncIterator[Self]:
        """Open the part during a block. Raises `StoreError`."""

        async def ask() -> Iterable[Any]:
            answers = await peers.ask_all_json(QUESTION)
            return [each for each in answers.values() if not isinstance(each, PeerError)]

        part = cls(context, pipeline, ask if context.settings.poll and peers.asks else None)
        if part.division is not None:
            for polled in context.settings.poll:
                await asyncio.to_thread(part.division.load, str(polled.table))
        try:
            yield part
        finally:
            context.questions.withdraw(QUESTION)

    def status(self) -> Mapping[str, Any]:
        """Return how many other daemons share the work; nothing if this daemon asks no others."""
        return {} if self.members is None else {"share": {"others": len(self.members.others)}}

    def audits(self, keyspace: str) -> bool:
        """Return whether this daemon, which has no node, audits the tables of a keyspace."""
        return self.members is None or self.members.is_mine(_AUDIT, keyspace)

    def _topics(self) -> Collection[str]:
        return () if self._gate.closed else self._work  # others take over from a paused daemon

    def _report(self) -> Mapping[str, Any]:
        assert self.members is not None
        assert self.division is not None
        assert self.passes is not None
        return {
            "id": self.members.own,
            "topics": list(self._topics()),
            "polls": self.division.report(),
            "deletes": self.passes.report(),
        }

    def _learn(self, answer: Mapping[str, Any]) -> None:
        if self.division is not None and self.passes is not None:
            self.division.learn(answer.get("polls"))
            self.passes.learn(answer.get("deletes"))
