"""Where changes come from: the commit log, polling, requests, dependents, removals, the spool."""
