"""cdc-daemon keeps Elasticsearch and OpenSearch equal to Cassandra, change by change."""

__version__ = "0.1.0"
