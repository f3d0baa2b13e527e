"""Schema changes while the daemon runs: mappings and indices are updated, or mappings are suspended."""
