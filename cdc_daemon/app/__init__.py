"""The only place where the parts of a daemon are put together, started and stopped."""
