"""Cassandra comes first: changed keys go to disk before cdc_raw is full (architecture, promise 9)."""
