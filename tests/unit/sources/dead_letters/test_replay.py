"""Replay: the requests to the pipeline, and the outcomes of the letters."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from cdc_daemon.commitlog.entries import read_entries
from cdc_daemon.commitlog.keys import read_mutation_keys
from cdc_daemon.commitlog.schema import Schema
from cdc_daemon.model.document_operation import DocumentOutcome, Outcome
from cdc_daemon.model.errors import Trouble
from cdc_daemon.model.signal import Key, Scope, Signal, TableName
from cdc_daemon.pipeline.dead_documents import DeadDocuments, readable_key
from cdc_daemon.pipeline.ports import Watch
from cdc_daemon.sources.dead_letters.replay import Replayer, ReplayOutcome
from cdc_daemon.sources.dead_letters.retries import DeadLetterRetries
from cdc_daemon.store import Store
from cdc_daemon.store.dead_letter_filter import DeadLetterFilter
from cdc_daemon.store.dead_letters import DeadLetter, DeadLetters
from tests.unit.commitlog.samples import load, sections
from tests.unit.document.tables import table

USER = TableName("sunbird", "user")


class FakePipeline:
    """Reports each key as processed in the next turn of the loop, with the outcomes in `documents`."""

    def __init__(self, dead: DeadDocuments) -> None:
        self.dead = dead
        self.documents: dict[bytes, Sequence[DocumentOutcome]] = {}
        self.held = False
        self.asked: list[Signal] = []
        self.withdrawn: list[Key] = []

    def request(self, signals: Iterable[Signal], watch: Watch) -> None:
        for signal in signals:
            self.asked.append(signal)
            key = Key.of(signal)
            if self.held:
                watch.delayed(key, Trouble("elasticsearch", "away"))
            else:
                asyncio.get_running_loop().call_soon(self._settle, key, watch)

    def withdraw(self, keys: Iterable[Key]) -> None:
        self.withdrawn += keys

    def _settle(self, key: Key, watch: Watch) -> None:
        outcomes = self.documents.get(key.partition_key, [DocumentOutcome("users", "u", Outcome.INDEXED)])
        shown = [(key, each.alias) for each in outcomes if each.outcome is not Outcome.DEAD]
        self.dead.revive([each for each in shown if self.dead.has(*each)])
        self.dead.set_aside([letter(key.partition_key, alias=e.alias) for e in outcomes if e.outcome is Outcome.DEAD])
        watch.settled(key, outcomes)


def letter(key: bytes, *, alias: str = "users", name: str = "user") -> DeadLetter:
    return DeadLetter(
        kind="document",
        reason="clash",
        detail={"message": "no date"},
        keyspace="sunbird",
        table=name,
        partition_key=key,
        clustering=(),
        alias=alias,
    )


class Requests:
    """Records the tables that are to be reconciled."""

    def __init__(self) -> None:
        self.tables: list[TableName] = []

    async def __call__(self, table: TableName) -> None:
        self.tables.append(table)


@pytest.fixture
def letters(tmp_path: Path) -> DeadLetters:
    return Store(tmp_path).dead_letters


@pytest.fixture
def dead(letters: DeadLetters) -> DeadDocuments:
    return DeadDocuments(letters, {USER: table(("id", "text", "partition_key"))})


@pytest.fixture
def pipeline(dead: DeadDocuments) -> FakePipeline:
    return FakePipeline(dead)


def sample_mutation() -> tuple[bytes, TableName]:
    """Return the bytes of a mutation that a real Cassandra wrote, and its table."""
    sample = load("5.0-plain")
    for name, data in sample.segments.items():
        for section in sections(data, segment=name):
            for payload, _ in read_entries(section, segment=name, problems=[]):
                updates, unknown = read_mutation_keys(payload, sample.schema)
                if len(updates) == 1 and not unknown and not updates[0].table.keyspace.startswith("system"):
                    return payload, TableName(updates[0].table.keyspace, updates[0].table.name)
    raise AssertionError("the sample has no such mutation")


class Known:
    """A fixed schema."""

    def __init__(self, current: Schema) -> None:
        self.current = current


@pytest.fixture
def replayer(pipeline: FakePipeline, letters: DeadLetters) -> Replayer:
    return Replayer(pipeline, letters, schema=Known(Schema()), shown={USER}, reconcile=Requests())


def ids(letters: DeadLetters) -> list[int | None]:
    return [each.id for each in letters.list(oldest_first=True)]


async def test_a_document_of_a_key_that_its_table_has_no_more_is_not_asked_for(
    dead: DeadDocuments, letters: DeadLetters, pipeline: FakePipeline
) -> None:
    dead.set_aside([letter(b"u1")])
    now = table(("id", "int", "partition_key"), ("c", "int", "clustering"), keyspace="sunbird", name="user")
    replayer = Replayer(pipeline, letters, schema=Known(Schema([now])), shown={USER}, reconcile=Requests())
    (replayed,) = (await replayer.replay()).letters
    assert (replayed.outcome, replayed.reason) == (ReplayOutcome.FAILED, "another_key")
    assert pipeline.asked == []
    assert ids(letters) == [1]


async def test_a_mutation_of_a_key_that_its_table_has_no_more_is_done_with(
    letters: DeadLetters, pipeline: FakePipeline
) -> None:
    payload, name = sample_mutation()
    letters.add([DeadLetter(kind="mutation", reason="clash", detail={}, payload=payload)])
    now = table(("x", "ascii", "partition_key"), keyspace=name.keyspace, name=name.table)
    schema = Schema([now]).merged(load("5.0-plain").schema)
    (replayed,) = (
        await Replayer(pipeline, letters, schema=Known(schema), shown={name}, reconcile=Requests()).replay()
    ).letters
    assert replayed.outcome is ReplayOutcome.REPLAYED
    assert pipeline.asked == []


def test_a_key_that_a_browser_would_round_is_a_text() -> None:
    kept = table(("id", "bigint", "partition_key"), ("c", "frozen<list<bigint>>", "clustering"))
    numbers = [each.to_bytes(8, "big") for each in (2**53 - 1, 2**53)]
    listed = b"\0\0\0\2" + b"".join(b"\0\0\0\x08" + each for each in numbers)
    assert readable_key(kept, numbers[0], [listed]) == {"id": 2**53 - 1, "c": [2**53 - 1, str(2**53)]}
    assert readable_key(kept, numbers[1], [listed]) == {"id": str(2**53), "c": [2**53 - 1, str(2**53)]}


async def test_a_document_that_is_shown_then_has_no_letter(
    dead: DeadDocuments, letters: DeadLetters, pipeline: FakePipeline, replayer: Replayer
) -> None:
    dead.set_aside([letter(b"u1"), letter(b"u2")])
    replay = await replayer.replay()
    assert [(each.id, each.outcome) for each in replay.letters] == [
        (1, ReplayOutcome.REPLAYED),
        (2, ReplayOutcome.REPLAYED),
    ]
    assert ids(letters) == []
    assert pipeline.asked == [Signal(USER, key, Scope.ROW) for key in (b"u1", b"u2")]


async def test_a_document_that_fails_again_keeps_its_one_letter(
    dead: DeadDocuments, letters: DeadLetters, pipeline: FakePipeline, replayer: Replayer
) -> None:
    dead.set_aside([letter(b"u1")])
    pipeline.documents[b"u1"] = [
        DocumentOutcome("users", "u1", Outcome.DEAD, "clash", "still no date"),
        DocumentOutcome("others", "u1", Outcome.INDEXED),
    ]
    replayed = await replayer.replay_one(1)
    assert replayed is not None
    assert (replayed.outcome, replayed.reason, replayed.message) == (ReplayOutcome.FAILED, "clash", "still no date")
    (kept,) = letters.list()
    assert (kept.id, kept.attempts, kept.detail["key"]) == (1, 2, {"id": "u1"})


async def test_a_letter_of_one_index_is_judged_by_that_index(
    dead: DeadDocuments, letters: DeadLetters, pipeline: FakePipeline, replayer: Replayer
) -> None:
    dead.set_aside([letter(b"u1"), letter(b"u1", alias="others")])
    pipeline.documents[b"u1"] = [
        DocumentOutcome("users", "u1", Outcome.DEAD, "clash", "no"),
        DocumentOutcome("others", "u1", Outcome.INDEXED),
    ]
    replay = await replayer.replay()
    assert [each.outcome for each in replay.letters] == [ReplayOutcome.FAILED, ReplayOutcome.REPLAYED]
    assert ids(letters) == [1]


async def test_a_partition_is_asked_for_as_a_whole(
    dead: DeadDocuments, letters: DeadLetters, pipeline: FakePipeline, replayer: Replayer
) -> None:
    dead.set_aside(
        [dataclasses.replace(letter(key, alias=""), kind="partition", clustering=None) for key in (b"1", b"2")]
    )
    (kept, _) = letters.list(oldest_first=True)
    assert kept.detail["key"] == {"id": "1"}
    pipeline.documents = {b"1": [], b"2": [DocumentOutcome("", "", Outcome.DEAD, "slow", "no answer")]}
    first, second = (await replayer.replay()).letters
    assert first.outcome is ReplayOutcome.REPLAYED
    assert (second.outcome, second.reason) == (ReplayOutcome.FAILED, "slow")
    assert pipeline.asked == [Signal(USER, key, Scope.STATIC) for key in (b"1", b"2")]


async def test_a_row_without_documents_of_its_own_is_replayed(
    dead: DeadDocuments, pipeline: FakePipeline, replayer: Replayer
) -> None:
    dead.set_aside([letter(b"1", alias="")])
    pipeline.documents = {b"1": []}
    (replayed,) = (await replayer.replay()).letters
    assert replayed.outcome is ReplayOutcome.REPLAYED


async def test_what_takes_too_long_stays(
    dead: DeadDocuments, letters: DeadLetters, pipeline: FakePipeline, replayer: Replayer
) -> None:
    dead.set_aside([letter(b"u1")])
    pipeline.held = True
    (replayed,) = (await replayer.replay(seconds=0.01)).letters
    assert (replayed.outcome, replayed.reason) == (ReplayOutcome.WAITING, "elasticsearch")
    assert pipeline.withdrawn == [Key(USER, b"u1", ())]
    assert ids(letters) == [1]


async def test_what_nothing_writes_any_more_fails(
    dead: DeadDocuments, letters: DeadLetters, replayer: Replayer
) -> None:
    dead.set_aside([letter(b"u1", name="gone"), letter(b"u2", alias="old")])
    replay = await replayer.replay()
    assert [(each.outcome, each.reason) for each in replay.letters] == [(ReplayOutcome.FAILED, "unmapped")] * 2
    assert ids(letters) == [1, 2]


@pytest.mark.parametrize(
    ("alias", "outcome"),
    [
        pytest.param("old", DocumentOutcome("users", "u1", Outcome.INDEXED), id="no mapping writes it any more"),
        pytest.param("", DocumentOutcome("users", "u1", Outcome.DEAD, "clash", "no date"), id="one of the row's"),
        pytest.param("users", DocumentOutcome("", "", Outcome.DEAD, "DocumentError", "no text"), id="the whole row"),
    ],
)
async def test_a_failure_that_leaves_no_letter_of_its_own_counts_and_is_not_tried_again_at_once(
    letters: DeadLetters,
    pipeline: FakePipeline,
    replayer: Replayer,
    alias: str,
    outcome: DocumentOutcome,
) -> None:
    long_ago = int((time.time() - 100) * 1e6)
    pipeline.dead.set_aside([dataclasses.replace(letter(b"u1", alias=alias), at=long_ago)])
    pipeline.documents[b"u1"] = [outcome]
    await DeadLetterRetries(letters, replayer, pause=60.0, ready=lambda: len(pipeline.asked) < 5).turn()
    assert len(pipeline.asked) == 1
    kept = letters.get(1)
    assert kept is not None
    assert (kept.attempts, kept.reason) == (2, "unmapped" if alias == "old" else outcome.error_type)


async def test_pages(dead: DeadDocuments, letters: DeadLetters, replayer: Replayer) -> None:
    dead.set_aside([letter(str(number).encode()) for number in range(5)])
    first = await replayer.replay(limit=3)
    assert ([each.id for each in first.letters], first.more) == ([1, 2, 3], True)
    second = await replayer.replay(DeadLetterFilter(above=3), limit=3)
    assert ([each.id for each in second.letters], second.more) == ([4, 5], False)
    assert await replayer.replay_one(1) is None
    assert letters.count() == 0


async def test_a_mutation_is_decoded_with_the_schema_known_now(letters: DeadLetters, pipeline: FakePipeline) -> None:
    payload, name = sample_mutation()
    letters.add(
        [DeadLetter(kind="mutation", reason="UnknownTableError", detail={}, segment_id=1, position=2, payload=payload)]
    )
    stranger = Replayer(pipeline, letters, schema=Known(Schema()), shown={name}, reconcile=Requests())
    (failed,) = (await stranger.replay()).letters
    assert (failed.outcome, failed.reason) == (ReplayOutcome.FAILED, "UnknownTableError")
    (kept,) = letters.list()
    assert (kept.attempts, kept.payload) == (2, payload)

    knowing = Replayer(pipeline, letters, schema=Known(load("5.0-plain").schema), shown={name}, reconcile=Requests())
    (replayed,) = (await knowing.replay()).letters
    assert replayed.outcome is ReplayOutcome.REPLAYED
    assert pipeline.asked
    assert {signal.table for signal in pipeline.asked} == {name}
    assert ids(letters) == []


@pytest.mark.parametrize("count", [1, 7])
async def test_an_unknown_table_that_has_become_known_is_compared_where_its_letter_has_not_all_of_its_mutations(
    letters: DeadLetters, pipeline: FakePipeline, count: int
) -> None:
    payload, name = sample_mutation()
    letter = DeadLetter(kind="mutation", reason="UnknownTableError", detail={}, segment_id=1, position=2)
    letters.add([dataclasses.replace(letter, payload=payload, table_id="aa", count=count)])
    requests = Requests()
    stranger = Replayer(pipeline, letters, schema=Known(Schema()), shown={name}, reconcile=requests)
    await stranger.replay()
    assert requests.tables == []
    known = Known(load("5.0-plain").schema)
    await Replayer(pipeline, letters, schema=known, shown={name}, reconcile=requests).replay()
    assert requests.tables == ([name] if count > 1 else [])
    assert ids(letters) == []


async def test_a_missing_piece_of_a_segment_cannot_be_replayed(letters: DeadLetters, replayer: Replayer) -> None:
    letters.add([DeadLetter(kind="segment", reason="gap_missing", detail={"message": "gone"}, segment_id=1)])
    (replayed,) = (await replayer.replay()).letters
    assert (replayed.outcome, replayed.reason) == (ReplayOutcome.FAILED, "gap_missing")
    (kept,) = letters.list()
    assert (kept.attempts, kept.detail) == (1, {"message": "gone"})


async def test_a_mutation_that_is_no_mutation_stays(letters: DeadLetters, replayer: Replayer) -> None:
    letters.add([DeadLetter(kind="mutation", reason="UnknownTableError", detail={}, payload=b"\x01")])
    (replayed,) = (await replayer.replay()).letters
    assert (replayed.outcome, replayed.reason) == (ReplayOutcome.FAILED, "MutationError")
    assert ids(letters) == [1]


async def test_a_replay_waits_no_longer_than_cassandra_is_there(pipeline: FakePipeline, letters: DeadLetters) -> None:
    lost = asyncio.Event()

    async def unreadable() -> str:
        await lost.wait()
        return "no answer for 2 s"

    letters.add([letter(b"1")])
    pipeline.held = True
    replayer = Replayer(
        pipeline, letters, schema=Known(Schema()), shown={USER}, reconcile=Requests(), unreadable=unreadable
    )
    replaying = asyncio.create_task(replayer.replay(seconds=3600))
    while not pipeline.asked:  # noqa: ASYNC110 -- what is waited for has no event of its own
        await asyncio.sleep(0.001)
    lost.set()
    (left,) = (await replaying).letters
    assert (left.outcome, left.reason, left.message) == (ReplayOutcome.WAITING, "cassandra", "no answer for 2 s")
    assert [key.partition_key for key in pipeline.withdrawn] == [b"1"]
    assert letters.count() == 1
