"""A server that only speaks the protocol, for calibration."""
