"""Real servers and a real daemon under a mixed load and planned faults, compared with each other at the end."""
