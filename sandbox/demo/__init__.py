"""Cassandra to a search engine before your eyes: `python -m sandbox.demo`, or `make demo`.

Real servers, the daemon as a process of its own, a writer, and outages. What is measured is what a user
would notice: the time from an acknowledged write until the document can be read, and in the end whether
every row and every document are equal.
"""
