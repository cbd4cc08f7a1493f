"""The REST face: Quart on Trio, over Hypercorn's HTTP/1.1."""
