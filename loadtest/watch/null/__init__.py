"""A server that only speaks the protocol, for calibration. Refuses to store, to check a ticket, and to be a relay."""
