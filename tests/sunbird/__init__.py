"""Sunbird's five object types: states of rows, and the exact documents that show them."""
