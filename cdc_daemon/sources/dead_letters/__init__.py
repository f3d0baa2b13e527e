"""Dead letters: replaying them, retrying them on a schedule, logging them, and rendering them as plain values."""
