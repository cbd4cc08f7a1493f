"""The truth about a run: what should be sent when, what became of every message, and how long it took."""
