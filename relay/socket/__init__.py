"""Bytes and sockets: listeners, TLS, the HTTP upgrade, WebSocket framing (RFC 6455) and the reactor. No Noise, no
frames.
"""
