"""The machine and the servers, looked at from outside; what the generator can do."""
