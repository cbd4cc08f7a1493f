"""The embedded PostgreSQL: its files, the user who runs it, and the server."""
