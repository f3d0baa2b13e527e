from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_daemon.config import TemplatePart, parse_template, template_columns


def test_parts() -> None:
    assert parse_template("u-{userid}_{courseid}!") == (
        TemplatePart("u-", "userid"),
        TemplatePart("_", "courseid"),
        TemplatePart("!", None),
    )


def test_doubled_braces_are_braces() -> None:
    parts = parse_template("{{{id}}}")
    assert "".join(part.text + ("VALUE" if part.column else "") for part in parts) == "{VALUE}"
    assert template_columns("{{{id}}}") == ("id",)


def test_a_column_may_come_twice() -> None:
    assert template_columns("{a}{b}{a}") == ("a", "b", "a")


@given(st.text("ab{}:!_", max_size=10))
def test_any_text_is_a_template_or_refused(text: str) -> None:
    try:
        columns = template_columns(text)
    except ValueError as error:
        told = str(error)
    else:
        told = "expected" if columns else "nothing"
    assert told.startswith("expected")


@pytest.mark.parametrize("text", ["", "x", "{{}}"])
def test_an_id_needs_a_column(text: str) -> None:
    with pytest.raises(ValueError, match="at least one key column"):
        parse_template(text)
