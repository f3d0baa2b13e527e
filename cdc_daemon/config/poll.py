"""Tables that are asked for changes from time to time, because their log cannot be read or does not tell all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from cdc_daemon.config.base import SettingsSection, wrong
from cdc_daemon.config.mapping_names import Table
from cdc_daemon.config.units import Duration, DurationOrZero
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.values.text_moment import TextMoment

ColumnName = Annotated[str, Field(min_length=1, max_length=48)]


def _check_format(pattern: str) -> str:
    try:
        TextMoment(pattern)
    except ConfigError as error:
        raise wrong(error.message, hint=error.hint) from None
    return pattern


def _check_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise wrong("expected a time zone of the IANA database, such as UTC or Asia/Kolkata") from None
    return name


MomentFormat = Annotated[str, AfterValidator(_check_format)]
Zone = Annotated[str, AfterValidator(_check_zone)]


class BucketSettings(SettingsSection):
    """How a table's partitions are cut by time."""

    column: ColumnName
    """The partition key's column that names the span of time: of type date, timestamp, text, int or bigint."""
    width: Duration = 86400.0
    """How much time a bucket holds, counted from 1970-01-01; a number column holds how many have passed since."""
    format: MomentFormat | None = None
    """How a text column spells the beginning of a bucket, such as `yyyy-MM-dd`."""
    zone: Zone | None = None
    """The time zone by whose clock buckets begin. Without it that of the table (`zone`) for a text or a date, and UTC
    for others."""
    others: Mapping[ColumnName, tuple[int | str, ...]] = Field(default_factory=dict)
    """The values of each other column of the partition key, such as `shard: [0, 1, 2, 3]`."""


class PollSettings(SettingsSection):
    """One table and the column that tells when a row was changed."""

    table: Table
    """The table with its keyspace; it has a mapping, or is joined to one."""
    strategy: Literal["index", "bucket", "scan"]
    """`index` asks an index on the column for newer rows, `bucket` reads the partitions of the latest spans of time,
    `scan` reads the keys of the whole table."""
    column: ColumnName | None = Field(default=None, validate_default=True)
    """The column that holds the moment of a row's last change. Without it, with `scan`, the write time tells; so it
    does for rows of which the column tells none, with `scan` and `bucket`."""
    unit: Literal["s", "ms", "us"] = "ms"
    """What a bigint column counts since 1970."""
    format: MomentFormat | None = None
    """How a text column spells a moment, such as `yyyy-MM-dd HH:mm:ss:SSSZ`."""
    zone: Zone = "UTC"
    """The time zone of a text column whose format has none, and of a date."""
    every: Duration = 30.0
    """How often the table is asked."""
    overlap: DurationOrZero = 300.0
    """How far behind the watermark each turn begins: how late a row may appear whose moment is older. After a restart
    the changes of this time are read once more."""
    lag: DurationOrZero = 5.0
    """How far behind now the watermark stays: clock differences and slow writes. A row that is met sooner after its
    change is read at once, and once more after this time."""
    rate: int = Field(default=5000, ge=1, le=1_000_000)
    """The most rows a second that are looked at."""
    start: Literal["beginning", "now"] = "beginning"
    """Where the first turn begins: with every row the table has, or with those changed from now on."""
    bucket: BucketSettings | None = Field(default=None, validate_default=True)
    """How partitions are cut by time, for `bucket`."""

    @field_validator("column")
    @classmethod
    def _only_a_scan_needs_no_column(cls, column: str | None, info: ValidationInfo) -> str | None:
        if column is None and info.data.get("strategy") in ("index", "bucket"):
            raise wrong(f"expected the column that tells a row's last change: {info.data['strategy']} needs one")
        return column

    @field_validator("bucket")
    @classmethod
    def _bucket_goes_with_strategy(cls, bucket: BucketSettings | None, info: ValidationInfo) -> BucketSettings | None:
        strategy = info.data.get("strategy")
        if strategy is not None and (strategy == "bucket") != (bucket is not None):
            raise wrong("expected bucket with strategy: bucket, and only with it")
        return bucket
