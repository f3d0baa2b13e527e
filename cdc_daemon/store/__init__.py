"""The daemon's durable state in SQLite: checkpoints, dead letters, the clock's bound."""

from cdc_daemon.store.store import Store

__all__ = ["Store"]
