"""The relay: the WebSocket node that carries ciphertext between devices. No SQL, no REST, no plaintext."""
