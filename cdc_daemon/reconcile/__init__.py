"""Rows and documents compared, both ways, and what differs mended."""
