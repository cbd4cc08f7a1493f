"""The WebSocket node: it carries ciphertext between devices."""
