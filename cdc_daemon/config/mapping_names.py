"""The types of values in mappings: names of tables, columns, fields and indices, templates of ids, and expressions.

Each is checked as far as possible without the schema.
"""

from __future__ import annotations

import itertools
import re
import string
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator, WithJsonSchema

from cdc_daemon.config.base import wrong
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.model.signal import TableName
from cdc_daemon.values.dates import date_format
from cdc_daemon.values.expression import Expression

_TABLE = re.compile(r"(\w{1,48})\.(\w{1,222})", re.ASCII)

_HOOK = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*")

# Elasticsearch 8.19, MetadataCreateIndexService.validateIndexOrAliasName
_INDEX_FORBIDDEN = re.compile(r'[\\/*?"<>| ,#:]')
_INDEX_LONGEST = 255

_METADATA_FIELDS = frozenset(
    (
        *("_id", "_index", "_source", "_routing", "_version", "_seq_no", "_primary_term", "_ignored"),
        *("_field_names", "_doc_count", "_nested_path", "_tier", "_ignored_source", "_tsid"),
    )
)


def _read_table(value: object) -> TableName:
    if isinstance(value, TableName):
        return value
    match = _TABLE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise wrong("expected a table with its keyspace, such as sunbird.user")
    return TableName(*match.groups())


def _check_index(name: str) -> str:
    _check_alias(name)
    if name != name.lower():
        raise wrong("expected an index name in lower case", hint=f"such as {name.lower()}")
    return name


def _check_alias(name: str) -> str:
    if _INDEX_FORBIDDEN.search(name):
        raise wrong('expected an index name without any of \\ / * ? " < > | , # : and space')
    if not name or name[0] in "-_+" or name in (".", ".."):
        raise wrong("expected an index name that does not start with - _ or +")
    if len(name.encode()) > _INDEX_LONGEST:
        raise wrong(f"expected an index name of at most {_INDEX_LONGEST} bytes")
    return name


def _check_id(template: str) -> str:
    try:
        parts = parse_template(template)
    except ValueError as error:
        raise wrong(str(error)) from None
    for before, part in itertools.pairwise(parts):
        if part.column is not None and part.text[:1] in ("", "\\"):
            raise wrong(
                f"expected a text between {{{before.column}}} and {{{part.column}}} not starting with a backslash",
                hint="such as _ or :, because without it two keys could have the same id",
            )
    return template


def _check_routing(template: str) -> str:
    try:
        parse_template(template)
    except ValueError as error:
        raise wrong(str(error)) from None
    return template


def _check_field(name: str) -> str:
    if not name or name in _METADATA_FIELDS:
        raise wrong("expected a document field's name other than those of Elasticsearch's metadata fields")
    return name


def check_expression(text: str) -> str:
    """Return the expression if its syntax is valid. Its names are checked against the schema at the start."""
    try:
        Expression(text)
    except ConfigError as error:
        raise wrong(error.message, hint=error.hint) from None
    return text


def _check_date_format(pattern: str) -> str:
    try:
        date_format(pattern)
    except ConfigError as error:
        raise wrong(error.message, hint=error.hint) from None
    return pattern


def _check_hook(name: str) -> str:
    if _HOOK.fullmatch(name) is None:
        raise wrong("expected a Python function with its module, such as my_documents:make_user")
    return name


Column = Annotated[str, Field(min_length=1)]
DocumentField = Annotated[str, AfterValidator(_check_field)]
Table = Annotated[
    TableName,
    PlainValidator(_read_table),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\w+\.\w+$|\$\{", "examples": ["sunbird.user"]}),
]
Alias = Annotated[str, AfterValidator(_check_alias)]
IndexName = Annotated[str, AfterValidator(_check_index)]
IdTemplate = Annotated[str, AfterValidator(_check_id)]
RoutingTemplate = Annotated[str, AfterValidator(_check_routing)]
ExpressionText = Annotated[str, AfterValidator(check_expression)]
DatePattern = Annotated[str, AfterValidator(_check_date_format)]
HookName = Annotated[str, AfterValidator(_check_hook)]


class TemplatePart(NamedTuple):
    """A part of a template: literal text, followed by the value of a column. The last part may have no column."""

    text: str
    column: str | None


def parse_template(template: str) -> tuple[TemplatePart, ...]:
    """Split a template of document ids, such as `{userid}_{courseid}`; `{{` and `}}` stand for literal braces.

    Raises ValueError with a message for the user when braces do not match, a pair of braces contains anything other
    than a column name, or no column is named.
    """
    try:
        pieces = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"expected matching braces around each column's name ({error})") from None
    for _, column, form, conversion in pieces:
        if form or conversion:
            raise ValueError(f"expected nothing but a column's name in the braces of {{{column}}}")
        if column is not None and not column.strip():
            raise ValueError("expected a column's name in each pair of braces")
    parts = []
    literal = ""
    for text, column, _, _ in pieces:
        literal += text  # an escaped brace ends a piece too
        if column is not None:
            parts.append(TemplatePart(literal, column))
            literal = ""
    if not parts:
        raise ValueError("expected at least one key column in braces, such as {userid}")
    if literal:
        parts.append(TemplatePart(literal, None))
    return tuple(parts)


def template_columns(template: str) -> tuple[str, ...]:
    """Return the columns of a template in their order. Raises ValueError as `parse_template` does."""
    return tuple(part.column for part in parse_template(template) if part.column is not None)
