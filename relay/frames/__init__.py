"""One handler for each client frame. No sockets, no SQL."""
