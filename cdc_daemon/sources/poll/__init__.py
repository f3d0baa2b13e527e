"""Changes that no log tells: rows whose timestamp column, or write time, is past a watermark."""
