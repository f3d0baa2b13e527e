"""One test for each kind of mistake: the message has the place, what was expected, what was found, and a fix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from cdc_daemon.config import SettingsError

Fail = Callable[..., SettingsError]


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("cassandra__port", 0, "expected at least 1, found 0"),
        ("cassandra__port", 70000, "expected at most 65535, found 70000"),
        ("cassandra__port", "many", 'expected a whole number, found "many"'),
        ("cassandra__port", 1.5, "expected a whole number, found 1.5"),
        ("cassandra__port", [1], "expected a whole number, found a list"),
        ("cassandra__port", 10**30, "expected at most 65535"),
        ("cassandra__contact_points", "db", 'expected a list, found "db" (write [value])'),
        ("cassandra__contact_points", [], "expected at least one, found an empty list"),
        ("cassandra__consistency", "LOCAL_QUORM", "did you mean LOCAL_QUORUM?"),
        ("cassandra__consistency", "quorum", "did you mean QUORUM?"),
        ("cassandra__consistency", 3, "expected 'LOCAL_QUORUM'"),
        ("cassandra__request_timeout", 10, "found 10 (write the unit: 10s for seconds, 10ms for milliseconds)"),
        ("cassandra__request_timeout", "10", 'found "10" (write the unit: 10s'),
        ("cassandra__request_timeout", "10 sec", "the units are ms, s, m, h, d"),
        ("cassandra__request_timeout", "0s", "expected more than 0"),
        ("cassandra__request_timeout", True, "expected a duration such as 500ms, 2s, 1m, 1h or 7d"),
        ("cassandra__username", "", "expected a text that is not empty"),
        ("cassandra__username", "daemon", "password is missing"),
        ("cassandra__tls", "yes", 'expected keys and values, found "yes"'),
        ("cassandra__tls__enabled", "maybe", 'expected true or false, found "maybe"'),
        ("cassandra__tls__key_file", "key.pem", "expected certificate_file and key_file together"),
        ("cassandra__tls__certificate_file", "cert.pem", "expected certificate_file and key_file together"),
        ("commit_log__cdc_raw_directory", None, "commit_log.cdc_raw_directory: expected a value, found none"),
        ("commit_log__cdc_raw_directory", 7, "expected a path, found 7"),
        ("commit_log__poll_interval", "20", "write the unit"),
        ("elasticsearch__hosts", ["es.example.org:9200"], "expected a URL with scheme, host and port"),
        ("elasticsearch__hosts", ["https://es.example.org"], "write the port: usually 9200, or 443"),
        ("elasticsearch__hosts", ["http://es:99999"], "expected a URL with scheme, host and port"),
        ("elasticsearch__hosts", ["ftp://es:9200"], "expected a URL with scheme, host and port"),
        ("elasticsearch__hosts", [], "expected at least one"),
        ("elasticsearch__bulk_bytes", 4096, "write the unit: 4096B for bytes, which is 4KiB"),
        ("elasticsearch__bulk_bytes", "4mb", "the units are B, kB, KB, MB"),
        ("elasticsearch__bulk_bytes", "0.5B", "expected a whole number of bytes"),
        ("elasticsearch__connections", 65, "expected at most 64"),
        ("elasticsearch__allowed_clock_difference", -1, "expected a duration such as 500ms"),
        ("mappings__user__mappings", {"properties": [1]}, "expected an object of fields in properties, found list"),
        (
            "mappings__user__mappings",
            {"properties": {"id": "keyword"}},
            "expected an object in properties.id, found str",
        ),
        (
            "mappings__user__mappings",
            {"properties": {"a": {"properties": {"b": 3}}}},
            "expected an object in properties.a.properties.b, found int",
        ),
        (
            "mappings__user__joins",
            {"c": {"table": "k.c", "on": {"a": "b"}, "on_row_delete": "mark"}},
            "on_row_delete belongs to the mapping",
        ),
        ("mappings__user__field_types", {"name": {"fields": []}}, "expected an object of fields in name.fields"),
        ("http__port", -1, "expected at least 0"),
        ("http__host", "", "expected a text that is not empty"),
        ("log__level", "inf", "did you mean info?"),
        ("log__format", "jsn", "did you mean json?"),
        ("mappings", {}, "expected at least one"),
        ("mappings", None, "mappings: expected a value, found none"),
        ("mappings__user__table", None, "mappings.user.table: expected a value"),
        ("mappings__user__table", "user", "expected a table with its keyspace, such as sunbird.user"),
        ("mappings__user__table", "a.b.c", "expected a table with its keyspace"),
        ("mappings__user__table", 7, "expected a table with its keyspace"),
        ("mappings__user__alias", "two words", "expected an index name without any of"),
        ("mappings__user__alias", "_hidden", "does not start with"),
        ("mappings__user__alias", "", "does not start with"),
        ("mappings__user__alias", "x" * 256, "at most 255 bytes"),
        ("mappings__user__index", "Users", 'expected an index name in lower case, found "Users" (such as users)'),
        ("mappings__user__index", "user_alias", "expected an index name other than the alias"),
        ("mappings__user__id", "{userid", "expected matching braces"),
        ("mappings__user__id", "userid}", "expected matching braces"),
        ("mappings__user__id", "constant", "expected at least one key column in braces"),
        ("mappings__user__id", "{}", "expected a column's name in each pair of braces"),
        ("mappings__user__id", "{userid:>10}", "expected nothing but a column's name"),
        ("mappings__user__id", "{userid!r}", "expected nothing but a column's name"),
        ("mappings__user__fields", {"a": "x", "b": "x"}, "x is the field of a and b"),
        ("mappings__user__fields", {"a": "_id"}, "other than those of Elasticsearch's metadata"),
        ("mappings__user__fields", {"a": ""}, "expected a document field's name"),
        ("mappings__user__fields", ["a"], "expected keys and values, found a list"),
        ("mappings__user__include", [], "expected at least one"),
        ("mappings__user__include", "a", "expected a list"),
        ("mappings__user__nulls", "omit", "expected 'keep' or 'drop', found \"omit\""),
        ("mappings__user__mappings", {"mappings": {}}, 'expected the object below "mappings"'),
        ("mappings__user__settings", {"mappings": {}}, 'expected the object below "settings"'),
        ("mappings__user__settings", "x", "expected keys and values"),
        ("mappings__bad name", {"table": "k.t", "alias": "b"}, "expected a name of letters, digits, - and _"),
        ("state", "here", "expected keys and values"),
    ],
)
def test_a_wrong_value(fail_changed: Fail, path: str, value: Any, told: str) -> None:
    error = fail_changed(**{path: value})
    assert told in str(error)
    assert all(mistake.message.startswith(("expected", "unknown")) for mistake in error.mistakes)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("cassandra__contact_pionts", "cassandra.contact_pionts: unknown key (did you mean contact_points?)"),
        ("cassandra__contact-points", "did you mean contact_points?"),
        (
            "cassandra__tls__verify_host_name",
            "cassandra.tls.verify_host_name: unknown key (did you mean verify_hostname?)",
        ),
        ("cassandra__bulk_documents", "did you mean elasticsearch.bulk_documents?"),
        ("elasticsearch__directory", "did you mean state.directory?"),
        ("elasticserach", "elasticserach: unknown key (did you mean elasticsearch?)"),
        ("state__zzz", "known here: directory"),
        ("mappings__user__tabel", "mappings.user.tabel: unknown key (did you mean table?)"),
    ],
)
def test_an_unknown_key_is_told_with_the_nearest_right_name(fail_changed: Fail, path: str, told: str) -> None:
    error = fail_changed(**{path: "hunter2"})
    assert told in str(error)
    assert "hunter2" not in str(error)


@pytest.mark.parametrize(
    "changes",
    [
        {"elasticsearch__username": "a", "elasticsearch__password": "hunter2", "elasticsearch__api_key": "hunter3"},
        {"elasticsearch__password": "hunter2"},
        {"elasticsearch__password": ["hunter2"]},
        {"elasticsearch__api_key": {"hunter2": 1}},
        {"elasticsearch__pasword": "hunter2"},
        {"elasticsearch__hosts": ["http://elastic:hunter2@es:9200"]},
        {"elasticsearch__hosts": ["http://elastic:hunter2@es:9200:1"]},
        {"elasticsearch__hosts": "http://elastic:hunter2@es:9200"},
        {"cassandra__password": 12345678},
    ],
)
def test_no_mistake_shows_a_secret(fail_changed: Fail, changes: dict[str, Any]) -> None:
    told = str(fail_changed(**changes))
    assert "hunter" not in told
    assert "12345678" not in told


def test_every_mistake_is_told_at_once_each_with_its_line(fail_text: Fail) -> None:
    error = fail_text(
        "cassandra:\n"
        "  prot: 9042\n"
        "  request_timeout: 10\n"
        "  username: ${NOPE}\n"
        "  password_file: absent\n"
        "commit_log: {}\n"
        "state:\n"
        "  directory: /s\n"
        "mappings:\n"
        "  user:\n"
        "    table: user\n"
        "    alias: Bad Alias\n"
        "    include: [a]\n"
        "    exclude: [b]\n"
        "other: 1\n"
    )
    told = {mistake.path: mistake.line for mistake in error.mistakes}
    assert told == {
        ("cassandra", "prot"): 2,
        ("cassandra", "request_timeout"): 3,
        ("cassandra", "username"): 4,
        ("cassandra", "password_file"): 5,
        ("commit_log", "cdc_raw_directory"): 6,
        ("mappings", "user", "table"): 11,
        ("mappings", "user", "alias"): 12,
        ("mappings", "user", "exclude"): 14,
        ("other",): 15,
    }
    assert str(error).count("\n") == len(told)
    assert f"{len(told)} mistakes" in str(error)


def test_mappings_that_share_an_index(fail_changed: Fail) -> None:
    error = fail_changed(mappings__other={"table": "k.t", "alias": "user_alias"})
    assert "user_alias is used by user and other" in str(error)


def test_a_renamed_column_has_to_be_included(fail_changed: Fail) -> None:
    error = fail_changed(mappings__user__fields={"a": "A", "b": "B"}, mappings__user__include=["a"])
    assert "expected every column that fields renames; b is missing" in str(error)


def test_a_renamed_column_cannot_be_excluded(fail_changed: Fail) -> None:
    error = fail_changed(mappings__user__fields={"a": "A"}, mappings__user__exclude=["a"])
    assert "expected no column that fields renames: a" in str(error)


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n", "just text\n", "7\n", "a: [\n"])
def test_files_that_are_no_configuration(fail_text: Fail, text: str) -> None:
    error = fail_text(text)
    assert error.mistakes
    assert "config.yaml" in str(error)


def test_a_repeated_section(fail_text: Fail) -> None:
    assert "line 2: log: expected each key once" in str(fail_text("log: {}\nlog: {level: debug}\n"))


_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text("ab{}$.: /@-1s", max_size=9)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.text("abtls", max_size=3), inner, max_size=2)
    ),
    max_leaves=5,
)
_places = st.sampled_from(
    [
        "cassandra",
        "cassandra__password_file",
        "cassandra__tls__ca_file",
        "cassandra__contact_points",
        "elasticsearch__hosts",
        "elasticsearch__request_timeout",
        "http__port",
        "mappings__user",
        "mappings__user__fields",
        "mappings__user__id",
        "mappings__user__table",
        "mappings__user__mappings_file",
        "mappings__other",
        "log__level",
    ]
)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_places, _values)
def test_any_value_anywhere_is_taken_or_refused_as_a_mistake(
    load_changed: Callable[..., object], place: str, value: object
) -> None:
    try:
        load_changed(**{place: value if value is not None else "${NULL:-}"})
    except SettingsError as error:
        told = [mistake.message for mistake in error.mistakes]
    else:
        told = ["expected"]
    assert told
    assert all(message.startswith(("expected", "unknown")) for message in told)
