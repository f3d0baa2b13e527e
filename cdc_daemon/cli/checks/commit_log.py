"""Checks of the node's commit log settings: CDC, latency, segment format, and what happens when cdc_raw is full.

Names and meanings of the settings are those of cassandra.yaml and `Config` in Cassandra 4.0 to 5.0.
"""

from __future__ import annotations

from collections.abc import Iterator

from cdc_daemon.cassandra.node import NodeSettings, compressor, is_encrypted
from cdc_daemon.cli.checks.finding import Finding, fail, ok, warn
from cdc_daemon.commitlog.compression import COMPRESSORS
from cdc_daemon.config.units import format_duration

_MARKER_SECONDS = 0.1
_FRESH_SECONDS = 1.0
_RESTART = "in cassandra.yaml, and restart the node"


def check_commit_log(node: NodeSettings, *, follow_markers: bool, has_keys: bool = False) -> Iterator[Finding]:
    """Check the settings of a node. `follow_markers` and `has_keys` (a keystore) are settings of the daemon."""
    enabled = node.flag("cdc_enabled")
    if enabled:
        yield ok("cdc.enabled", "the node writes CDC segments")
    else:
        yield fail("cdc.enabled", "the node writes no CDC segments", f"set cdc_enabled: true {_RESTART}")
    yield _check_format(node, has_keys=has_keys)
    yield _check_freshness(node, follow_markers=follow_markers)
    if node.flag("cdc_block_writes") is False:
        yield warn(
            "cdc.when_full",
            "when cdc_raw is full, the node deletes the oldest segments, even unread ones (cdc_block_writes: false)",
            "set cdc_block_writes: true in cassandra.yaml, and CDCBlockWrites of the CommitLog MBean until the restart",
        )
    elif enabled:
        yield ok("cdc.when_full", "when cdc_raw is full, the node rejects writes to CDC tables, and no change is lost")


def _check_format(node: NodeSettings, *, has_keys: bool) -> Finding:
    name = "cdc.segment_format"
    compression = compressor(node)
    if is_encrypted(node) and not has_keys:
        return fail(
            name,
            "segments are encrypted (transparent_data_encryption_options), and the daemon has no keystore",
            "set commit_log.keystore to the JCEKS keystore named in cassandra.yaml, and "
            "commit_log.keystore_password_file",
        )
    if is_encrypted(node):
        return ok(name, "segments are encrypted, and the daemon has a keystore")
    if compression is not None and compression not in COMPRESSORS:
        return fail(
            name,
            f"segments are compressed by {compression}, which is not supported",
            f"set one of {', '.join(COMPRESSORS)}, or no commitlog_compression, {_RESTART}",
        )
    return ok(name, "segments are uncompressed" if compression is None else f"segments are compressed by {compression}")


def _check_freshness(node: NodeSettings, *, follow_markers: bool) -> Finding:
    name = "cdc.freshness"
    mode = (node.text("commitlog_sync") or "periodic").lower()
    if mode == "batch":
        return ok(name, "each write is on disk before Cassandra acknowledges it (commitlog_sync: batch)")
    if mode == "group":
        window = node.seconds("commitlog_sync_group_window")
        delay = "the group window" if window is None else format_duration(window)
        return ok(name, f"writes are on disk within {delay} (commitlog_sync: group)")
    period = node.seconds("commitlog_sync_period")
    delay = "commitlog_sync_period" if period is None else format_duration(period)
    reason = _why_late(node, follow_markers=follow_markers)
    if reason is None:
        return ok(name, f"writes can be read after about {format_duration(_MARKER_SECONDS)}, by sync markers")
    why, mend = reason
    found = f"writes can be read only after a sync, up to {delay} late, because {why}"
    if period is not None and period <= _FRESH_SECONDS:
        return ok(name, found)
    return warn(name, found, mend)


def _why_late(node: NodeSettings, *, follow_markers: bool) -> tuple[str, str] | None:
    """Return why there are no sync markers between syncs, or why they are not used, and the remedy."""
    shorter = f"set commitlog_sync_period: 1s {_RESTART}"
    if is_encrypted(node):
        return "the commit log is encrypted", shorter
    if compressor(node) is not None:
        return "the commit log is compressed", f"{shorter}; or remove commitlog_compression"
    access = (node.text("commitlog_disk_access_mode") or "legacy").lower()
    plain = f"set commitlog_disk_access_mode: mmap {_RESTART}; or commitlog_sync_period: 1s"
    if access == "direct":
        return "the commit log is written with direct I/O", plain
    if access == "auto":
        return "the node may write it with direct I/O (commitlog_disk_access_mode: auto selects it on SSDs)", plain
    if not follow_markers:
        return "commit_log.follow_markers is false", "set commit_log.follow_markers: true in the daemon's configuration"
    return None
