"""Generator of the metrics page, the alerts and the dashboard: `python -m monitoring`."""
