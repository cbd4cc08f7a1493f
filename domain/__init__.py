"""What may happen and why not. Refuses sockets, HTTP, SQL and Noise."""
