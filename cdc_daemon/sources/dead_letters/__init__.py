"""Dead letters: replay on request, retries on a schedule, log lines, and JSON."""
