"""Long work on whole tables: backfill, reconcile. Durable, resumable, and behind everything else the daemon does."""
