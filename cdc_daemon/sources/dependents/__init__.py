"""Dependents: documents that show a row of another table, refreshed when that row has changed."""
