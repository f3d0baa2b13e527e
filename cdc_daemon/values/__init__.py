"""CQL values as JSON values, timestamps and dates, and the expression language of mappings."""
