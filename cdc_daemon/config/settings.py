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
from cdc_daemon.config.peers import PeerSettings
from cdc_daemon.config.poll import PollSettings
from cdc_daemon.config.servers import CassandraSettings, ElasticsearchSettings
from cdc_daemon.config.type_names import FieldsByType
from cdc_daemon.config.units import ByteSize, Duration, DurationOrZero
from cdc_daemon.config.webhook import WebhookSettings


class CommitLogSettings(SettingsSection):
    """The node's CDC segments and how the daemon follows them."""

    cdc_raw_directory: ConfigPath
    """The node's `cdc_raw_directory`. The daemon reads segments there, and deletes those that are complete."""
    commitlog_directory: ConfigPath | None = None
    """The node's `commitlog_directory`. Needed for Cassandra 3.11 only, which moves a segment to cdc_raw when all its
    tables are flushed: until then the daemon reads it here. It changes and deletes nothing here."""
    follow_markers: bool = True
    """Whether to read up to the last sync marker, which Cassandra writes about every 100 ms. If false, the daemon reads
    only up to the position in `_cdc.idx`: changes are then late by up to `commitlog_sync_period`. 3.11 has no
    `_cdc.idx`: changes are then late until their segment is moved to cdc_raw."""
    poll_interval: Duration = 0.02
    """How often the daemon checks whether a segment has grown if the file system does not notify it."""
    ownership: Literal["all", "primary"] = "all"
    """Which changes in the node's log the daemon writes. `all`: all of them. `primary`: only those of keys of which the
    node is the first replica in its datacenter. It leaves the others to the daemons of these replicas, asks them
    through `peers` until they confirm each change, and writes what they do not confirm. Without `peers`, `primary` is
    `all`."""
    release: bool = True
    """Whether the daemon deletes segments that are complete and acknowledged. If false, something else must delete
    them; otherwise cdc_raw fills and Cassandra rejects writes."""
    spool: bool = True
    """Whether the daemon saves changed keys in the state directory when cdc_raw fills because documents cannot be
    written. It can then delete the segments, and Cassandra continues to accept writes. The keys of an index that alone
    accepts no writes are always saved there, because they would block all others."""
    spool_threshold: float = Field(default=0.5, gt=0.0, lt=1.0)
    """The fraction of `cdc_total_space` in use above which keys are saved in the state directory."""
    cdc_total_space: ByteSize | None = None
    """`cdc_total_space` of cassandra.yaml. Needed if the daemon's role may not read the node's settings."""
    keystore: ConfigPath | None = None
    """The JCEKS keystore named in cassandra.yaml (`transparent_data_encryption_options`), if segments are encrypted."""
    keystore_password: SecretStr | None = Field(default=None, validate_default=True)
    """The password of the keystore. Prefer `keystore_password_file` or `${VARIABLE}`."""
    keystore_password_file: ConfigPath | None = None
    """A file that holds the password of the keystore."""
    key_password: SecretStr | None = None
    """The password of the keys. Default: the password of the keystore."""
    key_password_file: ConfigPath | None = None
    """A file that holds the password of the keys."""

    @field_validator("commitlog_directory")
    @classmethod
    def _log_is_not_cdc_raw(cls, directory: Path | None, info: ValidationInfo) -> Path | None:
        if directory is not None and directory == info.data.get("cdc_raw_directory"):
            raise wrong("expected another directory than cdc_raw_directory")
        return directory

    @field_validator("keystore_password")
    @classmethod
    def _password_goes_with_keystore(cls, password: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if "keystore" in info.data and (info.data["keystore"] is None) != (password is None):
            raise wrong("expected keystore and keystore_password together, or neither")
        return password


_NO_LOG = CommitLogSettings(cdc_raw_directory=Path("/nowhere"))
"""The value of `commit_log` if `tail` is off and the section is absent."""


class PipelineSettings(SettingsSection):
    """The pipeline from changed keys to documents."""

    pending_limit: int = Field(default=50_000, ge=1, le=10_000_000)
    """The maximum number of changed keys in memory. Sources stop reading while it is exceeded."""
    batch_documents: int = Field(default=500, ge=1, le=100_000)
    """The maximum number of keys in a batch, which are read and written together."""
    workers: int = Field(default=4, ge=1, le=64)
    """The number of batches processed at once."""
    dependents_rate: int = Field(default=1000, ge=1, le=1_000_000)
    """The maximum number of documents per second that are rebuilt because a row of another table, which they show, has
    changed."""


class DeadLettersSettings(SettingsSection):
    """Dead letters: changes that could not be written and are kept."""

    retry_every: DurationOrZero = 3600.0
    """How long after its failure a dead letter is retried, in case the cause was fixed. After each further failure the
    wait doubles, up to a day. 0 switches retries off; `cdc-daemon dead-letters replay --all` still retries all."""


class StateSettings(SettingsSection):
    """The daemon's state: its checkpoint, and everything else that must survive a restart."""

    directory: ConfigPath
    """The state directory, on a local disk and used by this daemon only, such as `/var/lib/cdc-daemon`."""


class LogSettings(SettingsSection):
    """The daemon's log, written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The lowest level of the events that are written."""
    format: Literal["auto", "console", "json"] = "auto"
    """`json`: one JSON object per line. `console`: text. `auto`: text on a terminal, JSON elsewhere."""


Url = Annotated[str, Field(pattern=r"^https?://.+")]


class TracingSettings(SettingsSection):
    """OpenTelemetry traces of a sample of the changes, from write time to acknowledgement. Needs `cdc-daemon[otel]`."""

    endpoint: Url | None = None
    """The OTLP/HTTP endpoint that spans are sent to, such as http://127.0.0.1:4318/v1/traces. Default: no traces."""
    share: float = Field(default=0.01, gt=0, le=1)
    """The fraction of changes that have a span: 0.01 is one percent."""


class HeartbeatSettings(SettingsSection):
    """A row that each daemon writes and replicates itself, so that freshness is measured even if nobody else writes."""

    table: Table | None = None
    """The table of the heartbeat rows, `(node text PRIMARY KEY, at timestamp)`. It needs a mapping and `cdc = true`,
    and the daemon's role needs MODIFY on it. Default: no heartbeat."""
    every: Duration = 10.0
    """How often the daemon writes its row."""


class AuditSettings(SettingsSection):
    """The audit: a regular, slow comparison of a random sample of rows and documents."""

    every: DurationOrZero = 86400.0
    """The interval between two audits. 0 switches audits off."""
    sample: float = Field(default=0.01, gt=0, le=1)
    """The fraction of rows and documents that an audit compares, chosen at random."""
    rate: float = Field(default=500.0, gt=0)
    """The maximum number of rows per second. It also limits the comparison after changes that may have been lost."""
    repair: bool = False
    """Whether an audit repairs the differences it finds. The log, the metrics and `cdc-daemon jobs` report them in any
    case."""


class JobsSettings(SettingsSection):
    """Jobs on whole tables: backfill and reconcile. They yield to live changes and to requests for rows."""

    ranges_at_once: int = Field(default=2, ge=1, le=64)
    """The number of token ranges that a job processes at once."""
    page_rows: int = Field(default=1000, ge=10, le=100_000)
    """The number of rows in a page of a scan. The daemon uses smaller pages if rows are large or Cassandra times
    out."""
    rate: float | None = Field(default=None, gt=0)
    """The maximum number of rows per second of a job that sets no rate itself. Default: no limit. Jobs slow down in any
    case when Cassandra or the search engine is slow."""
    heal: bool = True
    """Whether the daemon reconciles and repairs tables automatically after changes were lost, for example with a
    damaged or missing segment."""
    heal_rate: float = Field(default=5000.0, gt=0)
    """The maximum number of rows per second of such a repair. A repair after a possible loss is limited to the audit's
    rate."""
    audit: AuditSettings = AuditSettings()
    """The audit: a regular, slow comparison of a random sample of rows and documents."""


class Settings(SettingsSection):
    """The whole configuration of a daemon."""

    cassandra: CassandraSettings = CassandraSettings()
    """The Cassandra cluster that rows are read from."""
    tail: bool = True
    """Whether to follow the node's commit log. Switch this off if the node's disk cannot be reached; changes are then
    found only in the tables listed in `poll`."""
    commit_log: CommitLogSettings = Field(default=_NO_LOG, validate_default=True)
    """The node's CDC segments and how the daemon follows them. Required unless `tail` is off."""
    poll: tuple[PollSettings, ...] = ()
    """Polled tables: those without CDC, or whose commit log cannot be read."""
    elasticsearch: ElasticsearchSettings = ElasticsearchSettings()
    """The search engine that documents are written to. The section may also be called `search`."""
    pipeline: PipelineSettings = PipelineSettings()
    """The pipeline from changed keys to documents."""
    jobs: JobsSettings = JobsSettings()
    """Jobs on whole tables: backfill and reconcile."""
    dead_letters: DeadLettersSettings = DeadLettersSettings()
    """Dead letters: changes that could not be written and are kept."""
    heartbeat: HeartbeatSettings = HeartbeatSettings()
    """A row that each daemon writes and replicates itself, to measure freshness."""
    state: StateSettings
    """The daemon's state, which must survive a restart."""
    http: HttpSettings = HttpSettings()
    """The daemon's HTTP server."""
    peers: PeerSettings = PeerSettings()
    """The other daemons of the datacenter, one beside each node."""
    webhook: WebhookSettings = WebhookSettings()
    """A webhook: events that people must know are posted to it as signed JSON."""
    log: LogSettings = LogSettings()
    """The daemon's log."""
    tracing: TracingSettings = TracingSettings()
    """OpenTelemetry traces."""
    types: FieldsByType = Field(default_factory=dict)
    """The Elasticsearch field for values of a CQL type, in all mappings that the daemon generates, such as
    `decimal: {type: scaled_float, scaling_factor: 100}`. Default: docs/field-types.md."""
    mappings: Mapping[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")], MappingSettings] = Field(min_length=1)
    """The mappings, by object type, such as `user`."""

    @field_validator("commit_log")
    @classmethod
    def _a_tail_needs_a_log(cls, commit_log: CommitLogSettings, info: ValidationInfo) -> CommitLogSettings:
        if commit_log is _NO_LOG and info.data.get("tail", True):
            raise wrong(
                "expected commit_log with cdc_raw_directory",
                hint="set it; or set tail: off if the node's disk cannot be reached",
            )
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
                        f"expected an index of its own for each mapping: {index} is used by {owners[index]} and {name}"
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
                    f"expected the same on_truncate in all mappings of a table: those of {owner} and {name}, "
                    f"both of {mapping.table}, differ"
                )
        return mappings

    @field_validator("mappings")
    @classmethod
    def _removed_rows_have_documents(
        cls, mappings: Mapping[str, MappingSettings], info: ValidationInfo
    ) -> Mapping[str, MappingSettings]:
        shown = {mapping.table for mapping in mappings.values()}
        for polled in info.data.get("poll", ()):
            if polled.deletes is not None and polled.table not in shown:
                raise wrong(
                    f"expected a mapping of {polled.table}, which has deletes in poll",
                    hint="deletes removes the documents of removed rows; leave it out for a table that is only joined",
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
            raise wrong(f"expected a mapping for heartbeat.table, {table}: without one its rows are not replicated")
        return mappings

    @field_validator("mappings")
    @classmethod
    def _types_are_of_all_mappings(
        cls, mappings: Mapping[str, MappingSettings], info: ValidationInfo
    ) -> Mapping[str, MappingSettings]:
        types = info.data.get("types") or {}
        if not types:
            return mappings
        return {
            name: mapping.model_copy(update={"types": {**types, **mapping.types}}) for name, mapping in mappings.items()
        }

    def redacted(self) -> dict[str, Any]:
        """Return the effective configuration as plain values, with units. Secrets are replaced by stars."""
        return self.model_dump(mode="json")
