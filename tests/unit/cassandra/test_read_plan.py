from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.cassandra.dialect import BEFORE_4, CASSANDRA
from cdc_daemon.cassandra.read_plan import LOOKUPS_PER_QUERY, ReadPlan, encode_list, encode_tuple, quote
from cdc_daemon.model.signal import Key, TableName
from tests.unit.document.tables import ENROLMENT, USER, table

NAME = TableName("sunbird", "t")
COMPOSITE = table(
    ("a", "text", "partition_key"), ("b", "int", "partition_key"), ("c", "text", "clustering"), ("v", "int", "regular")
)


def plan(of: object = USER, *, newest_of_collections: bool = True) -> ReadPlan:
    return ReadPlan(of, newest_of_collections=newest_of_collections)  # type: ignore[arg-type]


def test_a_single_key_is_asked_for_by_many() -> None:
    made = plan()
    assert made.by_keys == (
        'SELECT "id", "firstname", "flags", "tags", WRITETIME("firstname"), WRITETIME("flags"), MAXWRITETIME("tags") '
        'FROM "sunbird"."t" WHERE "id" IN ?'
    )
    assert made.columns == ("id", "firstname", "flags", "tags")


def test_before_5_0_collections_show_no_write_time() -> None:
    made = plan(newest_of_collections=False)
    assert "MAXWRITETIME" not in made.by_keys
    assert made.times == 2


def test_clustering_keys_are_asked_for_together() -> None:
    made = plan(ENROLMENT)
    assert made.by_keys.endswith('WHERE "userid" IN ? AND ("courseid", "batch") IN ?')
    assert made.by_key.endswith('WHERE "userid" = ? AND "courseid" = ? AND "batch" = ?')
    assert made.clusterings == 'SELECT textasblob("courseid"), intasblob("batch") FROM "sunbird"."t" WHERE "userid" = ?'
    assert 'WRITETIME("note")' in made.by_keys


def test_before_4_0_rows_with_a_collection_are_read_one_by_one() -> None:
    tagged = table(("p", "text", "partition_key"), ("c", "int", "clustering"), ("tags", "set<text>", "regular"))
    made = ReadPlan(tagged, dialect=BEFORE_4)
    assert made.by_keys.endswith('WHERE "p" = ? AND "c" = ?')
    keys = [Key(NAME, b"a", (b"1",)), Key(NAME, b"a", (b"2",)), Key(NAME, b"b", (b"1",))]
    assert [made.bind(group) for group in made.groups(keys, 100)] == [[b"a", b"1"], [b"a", b"2"], [b"b", b"1"]]


def test_before_4_0_rows_without_a_collection_are_read_together() -> None:
    made = ReadPlan(ENROLMENT, dialect=BEFORE_4)
    assert made.by_keys == plan(ENROLMENT).by_keys


def test_before_4_0_frozen_collections_show_no_times() -> None:
    frozen = table(
        ("p", "text", "partition_key"), ("tags", "frozen<set<text>>", "regular"), ("pair", "tuple<int, int>", "regular")
    )
    for dialect, times in ((BEFORE_4, ["pair"]), (CASSANDRA, ["tags", "pair"])):
        made = ReadPlan(frozen, dialect=dialect, with_ttls=True)
        assert sorted(made.write_times) == sorted(f'WRITETIME("{name}")' for name in times)
        assert (made.times, made.ttls) == (len(times), len(times))


def test_a_composite_partition_is_asked_for_alone() -> None:
    made = plan(COMPOSITE)
    assert made.by_keys.endswith('WHERE "a" = ? AND "b" = ? AND "c" IN ?')
    partition = b"\x00\x01x\x00\x00\x04\x00\x00\x00\x07\x00"
    (group,) = made.groups([Key(NAME, partition, (b"1",)), Key(NAME, partition, (b"2",))], 100)
    assert made.bind(group) == [b"x", b"\x00\x00\x00\x07", encode_list([b"1", b"2"])]


KEYS = st.lists(
    st.builds(
        Key,
        st.just(NAME),
        st.binary(min_size=1, max_size=2),
        st.tuples(st.binary(max_size=2), st.sampled_from([b"\x00\x00\x00\x01", b"\x00\x00\x00\x02"])),
    ),
    max_size=300,
    unique=True,
)


@given(keys=KEYS, limit=st.integers(1, 100))
def test_groups_hold_each_key_once_and_stay_small(keys: list[Key], limit: int) -> None:
    groups = list(plan(ENROLMENT).groups(keys, limit))
    assert sorted(key for group in groups for key in group.keys) == sorted(keys)
    for group in groups:
        assert len(group.keys) <= limit
        assert len(group.partition_keys) * len(group.clusterings) <= LOOKUPS_PER_QUERY
        assert {key.partition_key for key in group.keys} == set(group.partition_keys)
        assert {key.clustering for key in group.keys} == set(group.clusterings)


def test_values_are_bound_as_the_bytes_they_came_in() -> None:
    made = plan()
    (group,) = made.groups([Key(NAME, b"u1", ()), Key(NAME, b"\xff", ())], 100)
    assert made.bind(group) == [b"\x00\x00\x00\x02\x00\x00\x00\x02u1\x00\x00\x00\x01\xff"]


def test_tuples_and_nulls_are_encoded_as_the_protocol_says() -> None:
    assert encode_tuple([b"a", None, b""]) == b"\x00\x00\x00\x01a\xff\xff\xff\xff\x00\x00\x00\x00"
    assert encode_list([]) == b"\x00\x00\x00\x00"


def test_a_part_of_the_columns_is_read_with_the_lives_of_the_whole_row() -> None:
    child = table(
        ("a", "text", "partition_key"),
        ("c", "text", "clustering"),
        ("s", "text", "static"),
        ("v", "int", "regular"),
        ("w", "list<int>", "regular"),
    )
    made = ReadPlan(child, newest_of_collections=True, with_ttls=True, depth=0, only=["c"], limit=11)
    assert made.by_keys == (
        'SELECT "a", "c", TTL("v"), collection_min(TTL("w")) FROM "sunbird"."t" WHERE "a" IN ? PER PARTITION LIMIT 11'
    )
    assert (made.times, made.ttls) == (0, 2)
    assert "TTL" not in ReadPlan(child, newest_of_collections=True, depth=0, only=["c", "v"]).by_keys
    assert 'TTL("s")' in ReadPlan(child, with_ttls=True, depth=0, only=["s"]).by_keys


def test_names_are_quoted() -> None:
    assert quote('My "Table"') == '"My ""Table"""'
