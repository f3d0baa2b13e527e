"""Documents that a lost bulk request may still write, and the checks on them until that is impossible."""
