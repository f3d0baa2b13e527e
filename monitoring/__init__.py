"""What Prometheus, Grafana and people get to see of the daemon, made from the code: `python -m monitoring`."""
