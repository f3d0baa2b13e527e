"""Each published figure is one command: `python -m bench NAME`."""
