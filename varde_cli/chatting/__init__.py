"""The interactive chat: keyboard, screen, and the room between them."""
