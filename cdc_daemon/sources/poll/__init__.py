"""Polled tables: rows whose timestamp column or write time is past a watermark are read, without a commit log."""
