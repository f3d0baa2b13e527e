"""Tables that are altered while the daemon runs: their mappings and indices follow."""
