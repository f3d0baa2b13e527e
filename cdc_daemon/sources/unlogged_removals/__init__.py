"""Removals that are not in the log: truncated, dropped and re-created tables, values that expire."""
