"""Changes that are in no log: rows with a timestamp column, or write time, past a watermark."""
