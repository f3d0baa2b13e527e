"""What the daemon does from time to time, on APScheduler 3.11."""
