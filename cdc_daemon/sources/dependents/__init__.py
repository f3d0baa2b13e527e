"""Documents that show another table's row: refreshed when that row has changed, however many there are."""
