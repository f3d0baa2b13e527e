"""Cassandra's commit log, from bytes to mutations: no event loop, no session, no JVM."""
