"""CQL values as JSON values, moments, and the expression language of mappings."""
