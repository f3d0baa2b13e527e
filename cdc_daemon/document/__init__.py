"""Builds documents from rows by declared mappings. Does not depend on the log, sessions or requests."""
