"""Removals that the commit log does not contain: TRUNCATE, DROP, expired values, and changes made without CDC."""
