"""One sandbox's Cassandra with another's search engine."""

from __future__ import annotations

from sandbox import Sandbox


class Mixed(Sandbox):
    """One sandbox's Cassandra with another's search engine, as far as a stage asks. It starts nothing."""

    def __init__(self, cassandra: Sandbox, search: Sandbox) -> None:
        super().__init__(cassandra=None, elasticsearch=False)
        self.nodes = cassandra.nodes
        self._elasticsearch = search.elasticsearch
