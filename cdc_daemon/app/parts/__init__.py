"""The parts of a daemon: each module builds one and gives it the face of `Part`."""
