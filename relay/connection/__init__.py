"""One connection's life: admission, Noise handshake, the established session and its outbox. No stores, no fan-out."""
