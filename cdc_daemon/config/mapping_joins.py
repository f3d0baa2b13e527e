"""What documents show of other tables' rows: embedded children, looked-up fields, and who depends on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from cdc_daemon.config.base import Section, wrong
from cdc_daemon.config.mapping_names import Column, DocumentField, Table
from cdc_daemon.config.mapping_shape import ShapeSettings

_On = Mapping[Column, Column]


class DependentsSettings(Section):
    """How the documents are found that show a row of another table, when that row has changed.

    Where the row's key tells which documents show it, nothing has to be declared.
    """

    field: str | None = Field(default=None, min_length=1)
    """A field of the documents that holds the other row's key, such as `rootOrgId`: a keyword, or a text with a keyword
    below it (a text alone is searched by its words, and may find too many)."""
    table: Table | None = None
    """A table whose rows say which documents show the other row. Its own changes need not be seen."""
    on: _On = Field(default_factory=dict)
    """For `table`: each column of its partition key to the column of the other row that it equals."""
    key: _On = Field(default_factory=dict)
    """For `table`: each key column of the documents' table to the column of `table` that holds it."""
    ignore: bool = False
    """Whether documents are left as they are when the other row changes, until they change themselves."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [self.field is not None, self.table is not None, self.ignore]
        if sum(ways) != 1:
            raise wrong("expected one of field, table and ignore: true")
        if (self.table is not None) != bool(self.on and self.key) or (self.table is None and (self.on or self.key)):
            raise wrong("expected table, on and key together")
        return self


class LookupSettings(Section):
    """Fields taken from the one row of another table that a column points to."""

    table: Table
    """The other table, such as `sunbird.organisation`. It needs `cdc = true` in Cassandra."""
    on: _On = Field(min_length=1)
    """Each key column of the other table to the column here that it equals, such as `{id: rootorgid}`."""
    fields: Mapping[Column, DocumentField] = Field(min_length=1)
    """Columns of the other table to the fields they become, such as `{orgname: rootOrgName}`."""
    prefix: str = ""
    """Put before the name of each of these fields."""
    dependents: DependentsSettings | None = None
    """How the documents are found that show the other row, when it has changed."""
    expiring: bool = False
    """Whether the other table's rows are written `USING TTL`, as `expiring` of a mapping says of its own table."""


class JoinSettings(ShapeSettings):
    """Rows of a child table, embedded in the document under one field."""

    table: Table
    """The child table, such as `sunbird.user_roles`. It needs `cdc = true` in Cassandra."""
    on: _On = Field(min_length=1)
    """Each column of the child's partition key (and, if need be, the first clustering columns) to the column here
    that it equals, such as `{userid: id}`."""
    form: Literal["list", "map", "first"] = "list"
    """A `list` of the children, a `map` of them by `key`, or only the `first`."""
    key: Column | None = None
    """For a map: the child's column whose text is an entry's name. Of children with the same one the last is shown, in
    their order."""
    order: tuple[Column, ...] | None = Field(default=None, min_length=1)
    """Columns that the children are ordered by, with - before those in descending order; in the order of their
    clustering when absent. Nulls come last."""
    limit: int = Field(default=10_000, ge=1, le=1_000_000)
    """The most children that one document may have; one with more is set aside."""
    nested: bool = False
    """Whether the generated Elasticsearch mapping is `nested`, so that searches see each child by itself."""
    lookups: Mapping[str, LookupSettings] = Field(default_factory=dict)
    """Fields that each child takes from other tables, by a name of your choice."""
    dependents: DependentsSettings | None = None
    """How the documents are found that show a child, when the child's key does not tell it."""
    expiring: bool = False
    """Whether children are written `USING TTL`, as `expiring` of a mapping says of its own table."""

    @field_validator("key")
    @classmethod
    def _maps_have_keys(cls, key: str | None, info: ValidationInfo) -> str | None:
        if (key is not None) != (info.data.get("form") == "map"):
            raise wrong("expected a key for form: map, and for no other")
        return key

    @model_validator(mode="after")
    def _key_is_given(self) -> Self:
        if self.form == "map" and self.key is None:
            raise wrong("expected a key for form: map, such as the child's first clustering column")
        return self
