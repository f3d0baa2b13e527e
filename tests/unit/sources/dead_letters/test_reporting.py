"""A new dead letter gets a log line; those without a line are counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cdc_daemon.sources.dead_letters.reporting import LINES, PERIOD, DeadLetterLog
from cdc_daemon.store import Store
from cdc_daemon.store.dead_letters import DeadLetter

LETTER = DeadLetter(
    kind="document",
    reason="document_parsing_exception",
    detail={"message": "Preview of field's value: 'a secret'", "id": "u1", "index": "users"},
    keyspace="sunbird",
    table="user",
    partition_key=b"u1",
    clustering=(),
    alias="users",
)


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def letter_log(clock: Clock) -> DeadLetterLog:
    return DeadLetterLog(now=clock)


def letters(count: int, reason: str = "clash") -> list[DeadLetter]:
    return [replace(LETTER, id=number, reason=reason) for number in range(1, count + 1)]


def test_a_letter_is_logged_with_its_id_and_reason_and_without_the_value(letter_log: DeadLetterLog) -> None:
    with capture_logs() as logs:
        letter_log.note([replace(LETTER, id=7)])
    assert logs == [
        {
            "event": "dead_letters.set_aside",
            "log_level": "warning",
            "letter": 7,
            "kind": "document",
            "reason": "document_parsing_exception",
            "table": "sunbird.user",
            "index": "users",
            "id": "u1",
            "hint": "cdc-daemon dead-letters show 7",
        }
    ]


def test_letters_beyond_the_rate_are_counted_and_told(letter_log: DeadLetterLog, clock: Clock) -> None:
    with capture_logs() as logs:
        letter_log.note(letters(LINES + 5))
        letter_log.note(letters(7, "other"))
        letter_log.flush()
        assert [each["event"] for each in logs] == ["dead_letters.set_aside"] * LINES
        clock.now += PERIOD
        letter_log.flush()
        letter_log.flush()
    assert len(logs) == LINES + 1
    told = logs[-1]
    assert (told["event"], told["log_level"]) == ("dead_letters.suppressed", "warning")
    assert (told["suppressed"], told["reasons"], told["seconds"]) == (12, {"other": 7, "clash": 5}, PERIOD)


def test_a_letter_after_the_period_has_a_line_again(letter_log: DeadLetterLog, clock: Clock) -> None:
    with capture_logs() as logs:
        letter_log.note(letters(LINES + 1))
        clock.now += PERIOD
        letter_log.note(letters(1))
    assert [each["event"] for each in logs[LINES:]] == ["dead_letters.suppressed", "dead_letters.set_aside"]


def test_what_was_suppressed_is_told_at_the_end(letter_log: DeadLetterLog) -> None:
    with capture_logs() as logs:
        letter_log.note(letters(LINES + 3))
        letter_log.flush(at_once=True)
        letter_log.flush(at_once=True)
    assert [each["suppressed"] for each in logs[LINES:]] == [3]


def test_a_letter_is_new_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    new: list[DeadLetter] = []
    store.dead_letters.on_new = new.extend
    mutation = DeadLetter(kind="mutation", reason="MutationError", detail={}, segment_id=1, position=2)
    unknown = replace(mutation, reason="UnknownTableError", table_id="aa", position=3)
    store.dead_letters.add([LETTER, mutation, unknown])
    store.dead_letters.add([LETTER, mutation, unknown, replace(unknown, count=5)])
    store.dead_letters.add([replace(LETTER, alias="others")])
    kept = store.dead_letters.list(oldest_first=True)
    assert [each.id for each in new] == [each.id for each in kept]
    assert [(each.reason, each.alias) for each in new] == [
        ("document_parsing_exception", "users"),
        ("MutationError", ""),
        ("UnknownTableError", ""),
        ("document_parsing_exception", "others"),
    ]
    store.close()
