"""The tail's settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TailOptions:
    """Settings of a tail; times are in seconds.

    follow_markers       read as far as sync markers reach; when false, only what `_cdc.idx` says is durable
    release              delete finished segments; when false they are only recorded as consumed
    may_prune            whether Cassandra may delete unread segments (`cdc_block_writes: false`); set false only
                         if that is known, as it suppresses gaps that are merely possible
    poll_interval        time between two reads of a growing segment
    list_interval        time between two listings of the folder without file events
    checkpoint_interval  the least time between two checkpoints
    portion_mutations    the most mutations submitted at once
    open_portions        the most portions submitted and not acknowledged
    source               the checkpoint's name in the store
    """

    follow_markers: bool = True
    release: bool = True
    may_prune: bool = True
    poll_interval: float = 0.02
    list_interval: float = 1.0
    checkpoint_interval: float = 0.1
    portion_mutations: int = 1000
    open_portions: int = 1024
    source: str = "commitlog"
