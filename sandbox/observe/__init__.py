"""The daemon as its operators see it: `python -m sandbox.observe`, or `make observe`.

Real servers, the daemon under load, and a real Prometheus with the project's rules. Each query of the dashboard is
asked until it has an answer; then Elasticsearch is stopped, and what is told is when which alert went off.
"""
