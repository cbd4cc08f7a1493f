"""The language on the wire, sans-I/O. Refuses to await, to read a clock, to open a socket or to decide policy."""
