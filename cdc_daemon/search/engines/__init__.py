"""The search port over the Elasticsearch client. No other package imports the client's library."""
