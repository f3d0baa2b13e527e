"""The spine between sources and Elasticsearch: signals, coalescing, reading back, writing, acknowledgement."""
