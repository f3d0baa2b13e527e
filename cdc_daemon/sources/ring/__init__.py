"""The ring: each change is one daemon's, and the others keep it until that daemon confirms that it has written it."""
