"""Rows become documents by declared mappings. Nothing here knows of the log, of sessions or of requests."""
