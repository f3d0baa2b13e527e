"""Cassandra's commit log, from bytes to mutations: no event loop, no session, no JVM."""

from cdc_daemon.commitlog.implementation import install

install()
