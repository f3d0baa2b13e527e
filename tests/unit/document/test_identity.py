from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.document.identity import IDENTITY_LIMIT, Identity, KeyTemplate, short_id
from cdc_daemon.model.errors import ConfigError
from tests.unit.document.tables import table

ENROLMENT = table(
    ("userid", "text", "partition_key"),
    ("courseid", "text", "clustering"),
    ("batch", "int", "clustering"),
    ("progress", "int", "regular"),
)
USER = table(("id", "text", "partition_key"), ("name", "text", "regular"))
TEMPLATES = [
    None,
    "{userid}_{courseid}_{batch}",
    "{batch}-{courseid}::{userid}",
    "u{userid}__{courseid}ab{batch}!",
    "{userid}{{x}}{courseid} {batch}",
]
TEXTS = st.text(max_size=5, alphabet=":\\_-{}xu! ab")
KEYS = st.tuples(TEXTS, TEXTS, st.integers(-20, 20))


@pytest.mark.parametrize("template", TEMPLATES)
@given(one=KEYS, other=KEYS)
def test_two_keys_never_give_one_id(
    template: str | None, one: tuple[str, str, int], other: tuple[str, str, int]
) -> None:
    identity = Identity(ENROLMENT, template)
    assert identity.names_whole_key
    assert (identity.of(one) == identity.of(other)) == (one == other)


LISTS = st.lists(st.none() | st.text(max_size=3, alphabet='",[]\\:nul'), max_size=3)


@given(one=LISTS, other=LISTS)
def test_two_keys_of_collections_never_give_one_id(one: list[str | None], other: list[str | None]) -> None:
    identity = Identity(table(("id", "frozen<list<text>>", "partition_key"), ("c", "text", "clustering")), None)
    assert (identity.of((one, "c")) == identity.of((other, "c"))) == (one == other)


@pytest.mark.parametrize("template", TEMPLATES)
@given(key=KEYS)
def test_an_id_can_be_taken_apart(template: str | None, key: tuple[str, str, int]) -> None:
    identity = Identity(ENROLMENT, template)
    userid, courseid, batch = key
    assert identity.parse(identity.of(key)) == {"userid": userid, "courseid": courseid, "batch": str(batch)}


@given(text=TEXTS)
def test_a_single_key_column_is_the_id_as_it_is(text: str) -> None:
    identity = Identity(USER, None)
    assert identity.of((text,)) == text
    assert identity.parse(text) == {"id": text}


def test_ids_without_separators_in_their_values_look_as_the_template_says() -> None:
    assert Identity(ENROLMENT, "{batch}_{userid}").of(("u1", "c1", 7)) == "7_u1"
    assert Identity(ENROLMENT, "{courseid}_{userid}").of(("u_1", "do_2", 7)) == "do\\_2_u_1"


def test_a_template_that_leaves_out_a_column_is_told() -> None:
    assert not Identity(ENROLMENT, "{batch}_{userid}").names_whole_key


@pytest.mark.parametrize("identity", ["7", "x_7_u", "7_u"])
def test_what_is_no_id_of_the_template(identity: str) -> None:
    assert Identity(ENROLMENT, "b{batch}_{userid}").parse(identity) is None


def test_a_column_named_twice_has_to_agree_with_itself() -> None:
    identity = Identity(USER, "{id}/{id}")
    assert identity.parse("a/a") == {"id": "a"}
    assert identity.parse("a/b") is None


@given(st.text(max_size=700))
def test_every_id_fits_and_only_long_ones_are_hashed(readable: str) -> None:
    short = short_id(readable)
    encoded = readable.encode("utf-8", "surrogatepass")
    assert len(short.encode("utf-8", "surrogatepass")) <= IDENTITY_LIMIT
    if len(encoded) > IDENTITY_LIMIT:
        assert short == "sha256:" + hashlib.sha256(encoded).hexdigest()
    else:
        assert short == readable


def test_a_key_that_looks_like_a_hash_cannot_take_another_s_place() -> None:
    long = "x" * 600
    assert short_id(short_id(long)) != short_id(long)


def test_a_routing_value_is_made_of_key_columns() -> None:
    assert KeyTemplate(ENROLMENT, "{userid}", what="the routing's template").of(("u_1", "c", 1)) == "u_1"
    with pytest.raises(ConfigError, match="progress"):
        KeyTemplate(ENROLMENT, "{progress}", what="the routing's template")
