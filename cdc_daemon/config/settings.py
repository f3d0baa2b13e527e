"""The whole configuration of a daemon, section by section."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from cdc_daemon.config.base import ConfigPath, SettingsSection, wrong
from cdc_daemon.config.http import HttpSettings
from cdc_daemon.config.mapping import MappingSettings
from cdc_daemon.config.mapping_names import Table
from cdc_daemon.config.poll import PollSettings
from cdc_daemon.config.servers import CassandraSettings, ElasticsearchSettings
from cdc_daemon.config.units import ByteSize, Duration, DurationOrZero


class CommitLogSettings(SettingsSection):
    """The node's CDC segments and how they are followed."""

    cdc_raw_directory: ConfigPath
    """The node's `cdc_raw_directory`, which the daemon reads and removes finished segments from."""
    follow_markers: bool = True
    """Whether to read as far as sync markers reach (fresh about every 100 ms). When false, only what
    `_cdc.idx` says is on disk is read: as late as `commitlog_sync_period`."""
    poll_interval: Duration = 0.02
    """How often a growing segment is looked at when the file system tells of no change."""
    ownership: Literal["all", "primary"] = "all"
    """Which changes of the node's log the daemon acts on: all, or only those of keys whose first live replica in its
    datacenter the node is. The latter needs a daemon beside each node of the datacenter."""
    release: bool = True
    """Whether to delete segments that are finished and acknowledged. When false, somebody else must, or
    cdc_raw fills and Cassandra rejects writes."""
    spool: bool = True
    """Whether changed keys go to the state directory while cdc_raw is filling because documents cannot be written, so
    that segments can be deleted and Cassandra goes on writing. Keys of a single index that takes no writes go there in
    any case, as all others would wait for them."""
    spool_threshold: float = Field(default=0.5, gt=0.0, lt=1.0)
    """The share of `cdc_total_space` in use from which on keys go there."""
    cdc_total_space: ByteSize | None = None
    """`cdc_total_space` of cassandra.yaml, where the daemon's role may not read the node's settings."""
    keystore: ConfigPath | None = None
    """The JCEKS keystore that cassandra.yaml names (`transparent_data_encryption_options`), where segments are
    encrypted."""
    keystore_password: SecretStr | None = Field(default=None, validate_default=True)
    """The keystore's password. Better given as `keystore_password_file` or `${VARIABLE}`."""
    keystore_password_file: ConfigPath | None = None
    """A file that holds the keystore's password."""
    key_password: SecretStr | None = None
    """The keys' password; the keystore's when absent."""
    key_password_file: ConfigPath | None = None
    """A file that holds the keys' password."""

    @field_validator("keystore_password")
    @classmethod
    def _password_goes_with_keystore(cls, password: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if "keystore" in info.data and (info.data["keystore"] is None) != (password is None):
            raise wrong("expected keystore and keystore_password together, or neither")
        return password


_NO_LOG = CommitLogSettings(cdc_raw_directory=Path("/nowhere"))
"""Stands where `tail` is off and nothing is said of a log."""


class PipelineSettings(SettingsSection):
    """The flow from signals to documents."""

    pending_limit: int = Field(default=50_000, ge=1, le=10_000_000)
    """How many changed keys may wait; sources wait while there are more."""
    batch_documents: int = Field(default=500, ge=1, le=100_000)
    """The most keys that are read and written together."""
    workers: int = Field(default=4, ge=1, le=64)
    """How many batches are in work at once."""
    dependents_rate: int = Field(default=1000, ge=1, le=1_000_000)
    """The most documents a second that are built anew because another table's row, which they show, has changed."""


class DeadLettersSettings(SettingsSection):
    """What could not be written as it is, and is kept."""

    retry_every: DurationOrZero = 3600.0
    """How long after its failure a letter is tried again, in case its cause was mended; after each further failure
    twice as long, up to a day. 0 for never: `cdc-daemon dead-letters replay --all` tries them in any case."""


class StateSettings(SettingsSection):
    """What the daemon must remember."""

    directory: ConfigPath
    """A folder on a local disk, for this daemon alone, such as `/var/lib/cdc-daemon`."""


class LogSettings(SettingsSection):
    """The daemon's log, written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe events that are written."""
    format: Literal["auto", "console", "json"] = "auto"
    """JSON lines for machines, or text for people; `auto` means text on a terminal and JSON elsewhere."""


Url = Annotated[str, Field(pattern=r"^https?://.+")]


class TracingSettings(SettingsSection):
    """A span for some of the changes, from their write time to their acknowledgement. It needs `cdc-daemon[otel]`."""

    endpoint: Url | None = None
    """Where spans are sent by OTLP over HTTP, such as http://127.0.0.1:4318/v1/traces; none are made when absent."""
    share: float = Field(default=0.01, gt=0, le=1)
    """How many of the changes have a span, of 1."""


class HeartbeatSettings(SettingsSection):
    """A row of each daemon's own that goes the whole way, so that freshness is measured where nothing is written."""

    table: Table | None = None
    """The table of the rows, with a mapping and `cdc = true`: `(node text PRIMARY KEY, at timestamp)`. The daemon's
    role needs MODIFY on it. No heartbeat when absent."""
    every: Duration = 10.0
    """How often the row is written."""


class AuditSettings(SettingsSection):
    """A part of the rows and documents compared from time to time, at leisure."""

    every: DurationOrZero = 86400.0
    """How often a comparison begins; 0 for never."""
    sample: float = Field(default=0.01, gt=0, le=1)
    """The part that is compared each time, chosen by chance."""
    rate: float = Field(default=500.0, gt=0)
    """Rows a second at most, also of the comparison after changes that are only perhaps lost."""
    repair: bool = False
    """Whether differences are mended. They are told in the log, in metrics and by `cdc-daemon jobs` in any case."""


class JobsSettings(SettingsSection):
    """Backfill and reconcile, which run behind everything else the daemon does."""

    ranges_at_once: int = Field(default=2, ge=1, le=64)
    """How many ranges of tokens a job works on at once."""
    page_rows: int = Field(default=1000, ge=10, le=100_000)
    """How many rows a scan asks Cassandra for at once; fewer where they are large or it does not answer in time."""
    rate: float | None = Field(default=None, gt=0)
    """Rows a second of a job that names no rate itself; no bound when absent. Cassandra's and Elasticsearch's own
    slowness holds jobs back in any case."""
    heal: bool = True
    """Whether tables are reconciled and repaired unasked when changes were lost: a damaged or missing segment."""
    audit: AuditSettings = AuditSettings()
    """Comparisons from time to time."""


class Settings(SettingsSection):
    """Everything a daemon is told."""

    cassandra: CassandraSettings = CassandraSettings()
    """The Cassandra cluster whose rows are read back."""
    tail: bool = True
    """Whether to follow the node's commit log. Off for clusters whose disks cannot be reached: `poll` then tells
    what changed."""
    commit_log: CommitLogSettings = Field(default=_NO_LOG, validate_default=True)
    """The node's CDC segments and how they are followed; needed unless `tail` is off."""
    poll: tuple[PollSettings, ...] = ()
    """Tables that are asked for changes from time to time: those whose changes the log does not tell."""
    elasticsearch: ElasticsearchSettings = ElasticsearchSettings()
    """The Elasticsearch cluster that documents are written to."""
    pipeline: PipelineSettings = PipelineSettings()
    """The flow from signals to documents."""
    jobs: JobsSettings = JobsSettings()
    """Work on whole tables: backfill and reconcile."""
    dead_letters: DeadLettersSettings = DeadLettersSettings()
    """What could not be written as it is, and is kept."""
    heartbeat: HeartbeatSettings = HeartbeatSettings()
    """A row that is written only to be seen again."""
    state: StateSettings
    """What the daemon must remember."""
    http: HttpSettings = HttpSettings()
    """The embedded HTTP surface."""
    log: LogSettings = LogSettings()
    """The daemon's log."""
    tracing: TracingSettings = TracingSettings()
    """Traces for OpenTelemetry."""
    mappings: Mapping[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")], MappingSettings] = Field(min_length=1)
    """Object type, such as `user`, to its mapping."""

    @field_validator("commit_log")
    @classmethod
    def _a_tail_needs_a_log(cls, commit_log: CommitLogSettings, info: ValidationInfo) -> CommitLogSettings:
        if commit_log is _NO_LOG and info.data.get("tail", True):
            raise wrong("expected commit_log with cdc_raw_directory", hint="or tail: off, where no disk can be reached")
        return commit_log

    @field_validator("poll")
    @classmethod
    def _one_poller_for_each_table(cls, poll: tuple[PollSettings, ...]) -> tuple[PollSettings, ...]:
        tables = [each.table for each in poll]
        for table in tables:
            if tables.count(table) > 1:
                raise wrong(f"expected each table once in poll, found {table} again")
        return poll

    @field_validator("mappings")
    @classmethod
    def _one_mapping_for_each_alias(cls, mappings: Mapping[str, MappingSettings]) -> Mapping[str, MappingSettings]:
        owners: dict[str, str] = {}
        for name, mapping in mappings.items():
            for index in (mapping.alias, mapping.index):
                if index in owners:
                    raise wrong(
                        f"expected an index of its own for each mapping: {index} is named by {owners[index]} and {name}"
                    )
                owners[index] = name
        return mappings

    @field_validator("mappings")
    @classmethod
    def _one_policy_for_each_table(cls, mappings: Mapping[str, MappingSettings]) -> Mapping[str, MappingSettings]:
        owners: dict[str, tuple[str, str]] = {}
        for name, mapping in mappings.items():
            owner, policy = owners.setdefault(str(mapping.table), (name, mapping.on_truncate))
            if policy != mapping.on_truncate:
                raise wrong(
                    f"expected one on_truncate for each table: {owner} and {name} show {mapping.table} and differ"
                )
        return mappings

    @field_validator("mappings")
    @classmethod
    def _the_heartbeat_is_shown(
        cls, mappings: Mapping[str, MappingSettings], info: ValidationInfo
    ) -> Mapping[str, MappingSettings]:
        heartbeat = info.data.get("heartbeat")
        table = None if heartbeat is None else heartbeat.table
        if table is not None and table not in {mapping.table for mapping in mappings.values()}:
            raise wrong(f"expected a mapping for heartbeat.table, {table}: a row that is not shown tells nothing")
        return mappings

    def redacted(self) -> dict[str, Any]:
        """Return the effective configuration as plain values, with units, and with stars in place of secrets."""
        return self.model_dump(mode="json")
