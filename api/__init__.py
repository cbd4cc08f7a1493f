"""The REST face: Quart on Trio, over Hypercorn's HTTP/1.1. Refuses SQL, WebSockets and plaintext messages."""
