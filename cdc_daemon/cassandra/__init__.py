"""Cassandra as the daemon uses it: the session, the schema, multi-key reads."""
