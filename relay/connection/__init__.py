"""One connection: admission, Noise handshake, the established session, outbox and peer. No fan-out."""
