"""Makes docs/compatibility.md: what was tested, from the results of test runs."""
