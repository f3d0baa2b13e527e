from __future__ import annotations

import random
import re
from itertools import islice, repeat

from sandbox.demo.change import INSERT, STATEMENTS, Change, Changes, Kind
from sandbox.demo.schema import _SCHEMA


def _some(count: int, seed: int = 1) -> list[Change]:
    changes = Changes(random.Random(seed))
    return [changes.next() for _ in range(count)]


def test_every_kind_and_every_statement_comes_up() -> None:
    changes = _some(3000)

    assert {change.kind for change in changes} == set(Kind)
    assert {cql for change in changes for cql, _ in change.rows} == set(STATEMENTS)


def test_values_match_placeholders_and_columns_exist() -> None:
    columns = set(re.findall(r"^    (\w+) ", _SCHEMA.read_text(encoding="utf-8"), re.MULTILINE))
    for change in _some(2000):
        for cql, values in change.rows:
            assert cql.count("?") == len(values)
            assert None not in values
    named = re.findall(r"(\w+) = |(\w+)\[|DELETE ([\w, ]+) FROM|user \(([\w, ]+)\)", " ".join(STATEMENTS))
    for name in (name.strip() for groups in named for part in groups for name in part.split(",") if name.strip()):
        assert name in columns


def test_only_batches_have_several_rows() -> None:
    for change in _some(2000):
        several = change.kind in {Kind.LOGGED_BATCH, Kind.UNLOGGED_BATCH}
        assert (2 <= len(change.rows) <= 5) if several else len(change.rows) == 1


def test_users_are_inserted_once_and_changed_only_afterwards() -> None:
    known: set[str] = set()
    for change in _some(2000):
        for cql, values in change.rows:
            if cql == INSERT:
                assert values[0] not in known
                known.add(values[0])
            elif "sunbird.user " in cql:
                assert values[-1] in known


def test_memory_does_not_grow() -> None:
    changes = Changes(random.Random(2))
    for _ in islice(repeat(None), 2000):
        changes.next()

    assert set(vars(changes)) == {"_random", "_users"}
    assert isinstance(changes._users, int)
