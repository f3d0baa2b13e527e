"""How the tail is to work."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TailOptions:
    """Settings of a tail; times are in seconds.

    follow_markers       read as far as sync markers reach; when false, only what `_cdc.idx` says is durable
    release              delete finished segments; when false they are only remembered as consumed
    may_prune            whether Cassandra may delete unread segments (`cdc_block_writes: false`); give false only
                         where it is known, as it silences the mere possibility of a gap
    poll_interval        how often a growing segment is looked at
    list_interval        how often the folder is listed when no event tells of a change
    checkpoint_interval  the least time between two checkpoints
    portion_mutations    the most mutations handed over at once
    open_portions        the most portions handed over and not acknowledged
    source               the name under which the store keeps the checkpoint
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
