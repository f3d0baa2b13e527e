"""Tables that are altered while the daemon runs: updates their mappings and indices."""
