"""Questions between the daemons of one ring: signed, bounded, and answered without changing anything."""
