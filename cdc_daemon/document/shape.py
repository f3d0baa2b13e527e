"""The shape of an object: the columns of a row that it shows, their field names, and its other fields."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from cdc_daemon.config.mapping_shape import ShapeSettings
from cdc_daemon.document.condition import make_condition
from cdc_daemon.model.cql_types import CqlType
from cdc_daemon.model.errors import ConfigError, ConversionError, DocumentError, ExpressionError
from cdc_daemon.model.text import nearest_hint
from cdc_daemon.values.compiler import Evaluate
from cdc_daemon.values.cql_json import Bad, Converter, Rename, converter, json_text_converter, json_value
from cdc_daemon.values.dates import date_format
from cdc_daemon.values.expression import Expression
from cdc_daemon.values.messages import error_text

Row = Sequence[Any]
Build = Callable[[Row], dict[str, Any]]
Condition = Callable[[Row], bool]


class Extra(NamedTuple):
    """A field built from a value that is not a column of the table: from joined rows or a looked-up row.

    `column` is the value's name among the columns read; `convert` turns it into the field's value (None too).
    """

    column: str
    field: str
    convert: Converter


class _Shown(NamedTuple):
    field: str
    convert: Converter | None
    takes_null: bool = False


class Shape:
    """How rows of one table become objects.

    `place` names it in errors. `types` are the table's columns in order. Raises `ConfigError` if the
    settings name a column that the table does not have, or define a field twice.
    """

    def __init__(
        self, place: str, settings: ShapeSettings, types: Mapping[str, CqlType], *, made: Sequence[str] = ()
    ) -> None:
        self.place = place
        self.types = types
        self.rename = rename_of(settings.names)
        self._settings = settings
        self._check_names()
        self._shown = {column: self._show(column) for column in self._chosen()}
        self._computed = {field: Expression(text) for field, text in settings.computed.items()}
        self._where = None if settings.where is None else make_condition(place, settings.where, types)
        self._check_fields(made)
        self._check_expressions(made)

    @property
    def fields(self) -> Mapping[str, str]:
        """The columns shown, in order, each with its field."""
        return {column: shown.field for column, shown in self._shown.items()}

    @property
    def computed(self) -> Mapping[str, Expression]:
        """The computed fields."""
        return self._computed

    @property
    def constants(self) -> Mapping[str, Any]:
        """The fields with the same value in each object."""
        return self._settings.constants

    @property
    def json_texts(self) -> Iterable[str]:
        """The columns with JSON text to parse."""
        return self._settings.json_text

    @property
    def dates(self) -> Mapping[str, str]:
        """The date and time columns with their own pattern."""
        return self._settings.dates

    @property
    def used(self) -> frozenset[str]:
        """Every column that an object depends on."""
        names = frozenset().union(*(each.names for each in self._computed.values()))
        if self._where is not None:
            names |= self._where.names
        return frozenset(self._shown) | (names & frozenset(self.types))

    def compile(self, columns: Sequence[str], extras: Sequence[Extra] = ()) -> Build:
        """Return a function that builds objects from rows with these columns.

        Dropped columns are left out; expressions see null instead. The function raises
        `DocumentError` for a value that does not fit its converter or an expression.
        """
        places = {column: at for at, column in enumerate(columns)}
        shown = [(places[column], each) for column, each in self._shown.items() if column in places]
        fields = [each.field for _, each in shown]
        pick = _picker([at for at, _ in shown])
        conversions = [(each.field, at, each.convert) for at, each in shown if each.convert and not each.takes_null]
        always = [(each.field, at, each.convert) for at, each in shown if each.convert and each.takes_null]
        always += [(extra.field, places[extra.column], extra.convert) for extra in extras if extra.column in places]
        computed = list(self._compiled(places, [extra.field for extra in extras]))
        constants = self._settings.constants
        drop_nulls = self._settings.nulls == "drop"

        def build(row: Row) -> dict[str, Any]:
            made = dict(zip(fields, pick(row), strict=True))
            field = None
            try:
                for field, at, convert in conversions:
                    value = row[at]
                    if value is not None:
                        made[field] = convert(value)
                for field, at, convert in always:
                    made[field] = convert(row[at])
            except DocumentError:
                raise
            except Exception as error:
                raise ConversionError(misfit(error), field=field) from error
            try:
                for field, evaluate in computed:
                    made[field] = json_value(evaluate(row, made))
            except Exception as error:
                raise ExpressionError(misfit(error), field=field) from error
            if drop_nulls:
                made = {field: value for field, value in made.items() if value is not None}
            if constants:
                made.update(constants)
            return made

        return build

    def condition(self, columns: Sequence[str]) -> Condition | None:
        """Return a condition that decides whether a row with these columns is shown. None if every row is shown.

        The condition raises `ExpressionError` for a value that does not fit it. If a column of the filter was dropped,
        the condition cannot be evaluated: it raises for every row, so that documents stay unchanged instead of all
        being deleted or created.
        """
        if self._where is None:
            return None
        dropped = sorted((self._where.names & self.types.keys()) - set(columns))
        if dropped:
            return lambda _row: self._refuse(dropped)
        evaluate = self._where.compile(self._places(columns))

        def is_shown(row: Row) -> bool:
            try:
                return bool(evaluate(row, {}))
            except Exception as error:
                raise ExpressionError(f"{misfit(error)} in the condition") from error

        return is_shown

    def _refuse(self, dropped: Sequence[str]) -> bool:
        raise ExpressionError(
            f"expected the columns that {self.place}.where names, found none called {', '.join(dropped)} any more",
            hint="correct the filter and restart; until then the document stays as it is",
        )

    def _places(self, columns: Sequence[str]) -> dict[str, int]:
        """Return each column's position in rows of `columns`. A negative position means the column is missing."""
        return {**dict.fromkeys(self.types, -1), **{column: at for at, column in enumerate(columns)}}

    def _compiled(self, places: Mapping[str, int], made: Sequence[str]) -> Iterator[tuple[str, Evaluate]]:
        known = [*(each.field for each in self._shown.values()), *made]
        for field, expression in self._computed.items():
            yield field, expression.compile({**dict.fromkeys(self.types, -1), **places}, known)
            known.append(field)

    def _chosen(self) -> Iterator[str]:
        settings = self._settings
        for column in self.types if settings.include is None else settings.include:
            if column not in (settings.exclude or ()):
                yield column

    def _show(self, column: str) -> _Shown:
        settings, kind = self._settings, self.types[column]
        field = settings.fields.get(column) or self.rename(column)
        if column in settings.json_text:
            how = settings.json_text[column]
            try:
                convert = json_text_converter(column, kind, bad=Bad(how.bad), empty=how.empty)
            except ConfigError as error:
                raise ConfigError(error.message, hint=error.hint, mapping=self.place) from None
            return _Shown(field, convert, takes_null=True)
        if column in settings.dates:
            write = date_format(settings.dates[column])
            if not _holds_moments(kind):
                raise ConfigError(
                    f"expected a column of timestamps or dates in dates, found {column!r} of type {kind}",
                    mapping=self.place,
                )
            return _Shown(field, converter(kind, scalars={"timestamp": write, "date": write}))
        return _Shown(field, converter(kind, rename=self.rename))

    def _check_names(self) -> None:
        settings = self._settings
        named: Mapping[str, Iterable[str]] = {
            "fields": settings.fields,
            "include": settings.include or (),
            "exclude": settings.exclude or (),
            "json_text": settings.json_text,
            "dates": settings.dates,
            "where": settings.where if isinstance(settings.where, Mapping) else (),
        }
        for part, columns in named.items():
            for column in columns:
                if column not in self.types:
                    raise ConfigError(
                        f"expected a column of the table in {part}, found {column!r}",
                        hint=nearest_hint(column, self.types),
                        mapping=self.place,
                    )

    def _check_fields(self, made: Sequence[str]) -> None:
        fields = [shown.field for shown in self._shown.values()]
        fields += [*made, *self._computed, *self._settings.constants]
        twice = sorted({field for field in fields if fields.count(field) > 1})
        if twice:
            raise ConfigError(
                f"expected a field of its own for each column, found {', '.join(twice)} given twice",
                hint="rename or exclude one of the columns",
                mapping=self.place,
            )

    def _check_expressions(self, made: Sequence[str]) -> None:
        try:
            list(self._compiled({}, made))
        except ConfigError as error:
            raise ConfigError(error.message, hint=error.hint, mapping=self.place) from None


def rename_of(names: str | Mapping[str, str]) -> Rename:
    """Return a function that names a column, or a field of a user type, by `names`."""
    if isinstance(names, Mapping):
        return lambda name: names.get(name, name)
    return _camel if names == "camel" else lambda name: name


def _camel(name: str) -> str:
    return re.sub(r"(?<=[^_])_+([a-z0-9])", lambda match: match[1].upper(), name)


def _picker(places: Sequence[int]) -> Callable[[Row], Iterable[Any]]:
    if len(places) == 1:
        (only,) = places
        return lambda row: (row[only],)
    return itemgetter(*places) if places else lambda _row: ()


def misfit(error: Exception) -> str:
    """Return the message for an unexpected error that a value causes in a converter or expression."""
    return f"a value does not fit: {error_text(error)}"


def _holds_moments(kind: CqlType) -> bool:
    return kind.name in {"timestamp", "date"} or any(map(_holds_moments, kind.parameters))
