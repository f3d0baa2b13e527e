"""cassandra.yaml: the sandbox's defaults, what a caller changes, and how each version spells it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from sandbox.errors import SandboxError

CASSANDRA_DEFAULTS: Mapping[str, Any] = {
    "cluster_name": "sandbox",
    "num_tokens": 16,
    "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
    "endpoint_snitch": "SimpleSnitch",
    "auto_bootstrap": False,  # a ring is made of empty nodes: there is nothing to stream
    "commitlog_sync": "periodic",
    "commitlog_sync_period": "10000ms",  # Cassandra's own default, and the hard case for freshness
    "commitlog_segment_size": "4MiB",  # small, so that segments are finished every few seconds under load
    "commitlog_total_space": "128MiB",  # small, so that tables are flushed and segments discarded
    "memtable_heap_space": "64MiB",
    "memtable_offheap_space": "64MiB",
    "cdc_enabled": True,
    "cdc_total_space": "1024MiB",
    "cdc_free_space_check_interval": "250ms",
    "auto_snapshot": False,  # dropped test tables must not pile up
    "concurrent_reads": 16,
    "concurrent_writes": 16,
    "concurrent_counter_writes": 8,
}

_OLD_SPELLING: Mapping[str, tuple[str, str]] = {
    "cdc_free_space_check_interval": ("cdc_free_space_check_interval_ms", "ms"),
    "cdc_total_space": ("cdc_total_space_in_mb", "MiB"),
    "commitlog_segment_size": ("commitlog_segment_size_in_mb", "MiB"),
    "commitlog_sync_group_window": ("commitlog_sync_group_window_in_ms", "ms"),
    "commitlog_sync_period": ("commitlog_sync_period_in_ms", "ms"),
    "commitlog_total_space": ("commitlog_total_space_in_mb", "MiB"),
    "memtable_heap_space": ("memtable_heap_space_in_mb", "MiB"),
    "memtable_offheap_space": ("memtable_offheap_space_in_mb", "MiB"),
    "native_transport_idle_timeout": ("native_transport_idle_timeout_in_ms", "ms"),
    "read_request_timeout": ("read_request_timeout_in_ms", "ms"),
    "request_timeout": ("request_timeout_in_ms", "ms"),
    "write_request_timeout": ("write_request_timeout_in_ms", "ms"),
}
"""Setting (4.1 and later, value with unit) to its name in 3.11 and 4.0 (a number) and that number's unit."""

_UNITS: Mapping[str, int] = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "KiB": 1, "MiB": 1024, "GiB": 1024**2}
"""Each unit in the smallest of its kind: milliseconds, KiB."""


def cassandra_settings(version: str, changes: Mapping[str, Any], placement: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of cassandra.yaml for an exact version such as `5.0.6`.

    `placement` (directories, addresses, ports) wins over `changes`, which win over the defaults; mappings
    are merged key by key, and a change to None removes the setting. `changes` may spell settings as any
    version does (`commitlog_sync_period: 50ms` or `commitlog_sync_period_in_ms: 50`).
    """
    settings = merge(CASSANDRA_DEFAULTS, modern_spelling(changes))
    if settings.get("commitlog_sync") != "periodic" and "commitlog_sync_period" not in modern_spelling(changes):
        del settings["commitlog_sync_period"]  # Cassandra refuses it for the other modes
    settings = merge(settings, placement)
    if version.startswith("3."):
        settings = {"start_rpc": False, "start_native_transport": True, **settings}
    return old_spelling(settings) if version.startswith(("3.", "4.0.")) else settings


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes`, mappings merged key by key; a change to None removes the key."""
    merged = dict(base)
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def modern_spelling(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with the names and units of 4.1 and later."""
    modern = {old: (new, unit) for new, (old, unit) in _OLD_SPELLING.items()}
    spelled: dict[str, Any] = {}
    for name, value in settings.items():
        if name in modern:
            new, unit = modern[name]
            spelled[new] = None if value is None else f"{value}{unit}"
        else:
            spelled[name] = value
    return spelled


def old_spelling(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with the names and plain numbers of 3.11 and 4.0."""
    spelled: dict[str, Any] = {}
    for name, value in settings.items():
        if name in _OLD_SPELLING:
            old, unit = _OLD_SPELLING[name]
            spelled[old] = _number(name, value, unit)
        else:
            spelled[name] = value
    return spelled


def _number(name: str, value: object, unit: str) -> int:
    match = re.fullmatch(r"(\d+) *([A-Za-z]+)", str(value))
    if match is None or match.group(2) not in _UNITS:
        raise SandboxError(f"expected a number with a unit such as 10{unit}, found {value!r}", setting=name)
    return int(match.group(1)) * _UNITS[match.group(2)] // _UNITS[unit]


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """Return the settings written as `KEY=VALUE`.

    The value is YAML (an empty one removes the setting), dots in the key make nested keys. Raises
    SandboxError on anything else.
    """
    settings: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not all(part.strip() for part in key.split(".")):
            raise SandboxError(f"expected KEY=VALUE, found {assignment!r}")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as problem:
            raise SandboxError(f"expected a YAML value, found {text!r}: {problem}", setting=key) from None
        *parents, last = key.split(".")
        place = settings
        for parent in parents:
            inner = place.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise SandboxError(f"expected settings below {parent}, found {inner!r}", setting=key)
            place = inner
        place[last] = value
    return settings
