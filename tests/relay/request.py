"""The request that every client of the relay begins with, as bytes."""

from typing import Final

UPGRADE: Final = (
    b"GET /v1/relay HTTP/1.1\r\nHost: relay.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: varde.v1\r\n\r\n"
)
