"""Documents that a lost bulk request may still write, and the looks at them until that is impossible."""
