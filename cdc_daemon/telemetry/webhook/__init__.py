"""The webhook: events that people must know, posted as signed JSON."""
