"""Builds, starts and stops the parts of a daemon. No other package does."""
