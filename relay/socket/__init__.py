"""Bytes and sockets: listeners, TLS, HTTP upgrade, WebSocket framing (RFC 6455), the reactor. No Noise, no frames."""
