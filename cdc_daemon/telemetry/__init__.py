"""Metrics, logs, traces, and the state that the status page shows."""
