"""The settings of polled tables: tables without CDC, or whose commit log cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from cdc_daemon.config.base import SettingsSection, wrong
from cdc_daemon.config.mapping_names import Table
from cdc_daemon.config.units import Duration, DurationOrZero
from cdc_daemon.model.errors import ConfigError
from cdc_daemon.values.text_timestamps import TextTimestamps

ColumnName = Annotated[str, Field(min_length=1, max_length=48)]


def _check_format(pattern: str) -> str:
    try:
        TextTimestamps(pattern)
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
    """Time buckets: how the partition key of a table contains the time."""

    column: ColumnName
    """The partition key column that identifies the time bucket, of type date, timestamp, text, int or bigint."""
    width: Duration = 86400.0
    """The length of a bucket. Buckets are counted from 1970-01-01; a number column holds the number of the bucket."""
    format: MomentFormat | None = None
    """The format of a text column, which holds the start of a bucket, such as `yyyy-MM-dd`."""
    zone: Zone | None = None
    """The time zone in which buckets start. Default: the table's `zone` for a text or a date, UTC for other types."""
    others: Mapping[ColumnName, tuple[int | str, ...]] = Field(default_factory=dict)
    """All values of each other partition key column, such as `shard: [0, 1, 2, 3]`."""


class DeletesSettings(SettingsSection):
    """The search for removed rows of a polled table: their documents are removed."""

    every: Duration = 3600.0
    """The interval between the starts of two passes. A removed row is gone from search within this time plus the
    duration of a pass, which `/status` shows."""
    rate: int = Field(default=5000, ge=1, le=1_000_000)
    """The maximum number of rows read per second."""


class PollSettings(SettingsSection):
    """A polled table, and the column that holds the time of a row's last change."""

    table: Table
    """The table with its keyspace. It must have a mapping, or be joined by one."""
    strategy: Literal["index", "bucket", "scan"]
    """How newer rows are found. `index`: by an index on the column. `bucket`: by reading the partitions of the latest
    time buckets. `scan`: by reading the keys of the whole table."""
    column: ColumnName | None = Field(default=None, validate_default=True)
    """The column that holds the time of a row's last change. Default, with `scan` only: the write times of the row's
    columns. `scan` and `bucket` also use write times for rows whose column is null or holds no valid time."""
    unit: Literal["s", "ms", "us"] = "ms"
    """The unit of a number column, which counts from 1970-01-01."""
    format: MomentFormat | None = None
    """The format of a text column, such as `yyyy-MM-dd HH:mm:ss:SSSZ`."""
    zone: Zone = "UTC"
    """The time zone of a text column whose format has no zone, and of a date column."""
    every: Duration = 30.0
    """The interval between two polls."""
    overlap: DurationOrZero = 300.0
    """How far before the watermark each poll starts. A row that becomes visible later than its time says is found if
    the delay is at most this long. After a restart the changes of this period are read again."""
    lag: DurationOrZero = 5.0
    """How far the watermark stays behind the current time, to allow for clock differences and slow writes. A row that
    changed more recently is read immediately, and again after this time."""
    rate: int = Field(default=5000, ge=1, le=1_000_000)
    """The maximum number of rows read per second."""
    start: Literal["beginning", "now"] = "beginning"
    """Where the first poll starts: `beginning` reads every row of the table, `now` only rows that change from now
    on."""
    deletes: DeletesSettings | None = None
    """Finds removed rows, which polling does not see. Each pass reads the keys of the whole table and compares them
    with the ids in the index. Without this section, only a reconcile removes the documents of removed rows."""
    bucket: BucketSettings | None = Field(default=None, validate_default=True)
    """The time buckets of the table, for the strategy `bucket`."""

    @field_validator("column")
    @classmethod
    def _only_a_scan_needs_no_column(cls, column: str | None, info: ValidationInfo) -> str | None:
        if column is None and info.data.get("strategy") in ("index", "bucket"):
            raise wrong(
                f"expected the column that holds the time of a row's last change, which strategy: "
                f"{info.data['strategy']} needs"
            )
        return column

    @field_validator("bucket")
    @classmethod
    def _bucket_goes_with_strategy(cls, bucket: BucketSettings | None, info: ValidationInfo) -> BucketSettings | None:
        strategy = info.data.get("strategy")
        if strategy is not None and (strategy == "bucket") != (bucket is not None):
            raise wrong("expected bucket with strategy: bucket, and only with it")
        return bucket
