"""The types that all layers share. Nothing here imports another layer."""
