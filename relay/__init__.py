"""The WebSocket node: it carries ciphertext between devices. Refuses SQL, REST and plaintext."""
