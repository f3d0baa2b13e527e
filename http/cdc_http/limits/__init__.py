"""How much a caller may use: requests at once, and memory for bodies."""
