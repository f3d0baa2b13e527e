"""Dead letters at work: documents set aside and shown after all, replaying, and how letters are shown."""
