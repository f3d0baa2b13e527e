"""Cassandra comes first: changed keys go to disk before cdc_raw is full (docs/guarantees.md, promise 9)."""
