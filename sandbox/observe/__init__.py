"""The daemon as its operators see it: `python -m sandbox.observe`, or `make observe`.

Real servers, the daemon under load, and a real Prometheus with the project's rules. Each query of the dashboard is
run until it has a result. Then Elasticsearch is stopped, and the time at which each alert fires is printed.
"""
