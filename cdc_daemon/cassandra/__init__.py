"""Everything that talks to Cassandra: session, schema, multi-key reads."""
