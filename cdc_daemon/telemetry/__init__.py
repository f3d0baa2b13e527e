"""Metrics, logs, traces, and the state shown on the status page."""
