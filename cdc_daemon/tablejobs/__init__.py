"""Long jobs on whole tables: backfill, reconcile. Durable, resumable, and of lower priority than everything else."""
