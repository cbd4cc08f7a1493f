"""The interactive chat: keyboard, screen, and the room between them. Refuses to know of servers."""
