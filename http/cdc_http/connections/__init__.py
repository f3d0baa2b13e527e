"""Connections: how many, for how long, HTTP/1.1 as it is read, and TLS."""
