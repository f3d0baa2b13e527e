"""A look inside commit-log segments for people and scripts: list, dump, verify, count. Nothing is changed."""
