"""The work of `cdc-daemon init`: ask the servers, propose mappings, and write the configuration."""
