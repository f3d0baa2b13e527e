"""Removals that no change in the log tells: truncated, dropped and re-created tables, values that expire."""
