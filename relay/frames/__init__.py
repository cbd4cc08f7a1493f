"""One handler for each frame that a client may send, and how refusals are sent."""
